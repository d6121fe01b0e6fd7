"""The parts that the portal is made of are given, not ours to replace."""

import flask_login
import pytest
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import FlaskForm

from app.db import db
from app.web import guards
from app.web.kit.forms import Form


@pytest.mark.databases("sqlite")
def test_people_sign_in_through_flask_login(app):
    """However fast a hand-made one would be."""
    assert isinstance(app.login_manager, flask_login.LoginManager)
    assert guards.current_user is flask_login.current_user
    assert issubclass(guards.Visitor, flask_login.UserMixin)


def test_forms_are_of_wtforms_and_the_database_is_of_sqlalchemy():
    assert issubclass(Form, FlaskForm)
    assert isinstance(db, SQLAlchemy)
