"""A database connection that breaks between the last statement of an answer and its end."""

import os
import socket

import pytest
from sqlalchemy import text

from app.db import db


def cut(session) -> None:
    """Break the session's connection as a network does, behind its back."""
    connection = session.connection().connection.dbapi_connection
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


@pytest.mark.databases("postgresql")
def test_a_connection_that_breaks_after_its_last_statement_does_no_harm(app):
    with app.app_context():
        session = db.session()
        assert session.scalar(text("SELECT 1")) == 1
        cut(session)
    with app.app_context():
        assert db.session() is not session
        assert db.session.scalar(text("SELECT 1")) == 1
    db.session.remove()
    assert db.engine.pool.checkedout() == 0
