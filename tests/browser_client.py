"""A test client that behaves as a browser of its own does."""

import contextvars
import re
from typing import Any

from flask import has_app_context
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

from app.db import db
from tests.factories import PASSWORD


class Browser(FlaskClient):
    """Requests see only what was committed, and leave nothing of theirs in the test's own session."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """As FlaskClient, in a context of its own: a request inside the test's app context would share its `g`."""
        _end_read()
        try:
            kwargs.setdefault("buffered", True)  # what is streamed is read within the same context
            return contextvars.Context().run(super().open, *args, **kwargs)
        finally:
            _end_read()

    @property
    def csrf_token(self) -> str:
        """What the pages' forms and htmx headers carry."""
        with self.session_transaction() as session:
            raw = session.setdefault("csrf_token", "of a test")
        return str(URLSafeTimedSerializer(self.application.secret_key, salt="wtf-csrf-token").dumps(raw))

    def submit(self, path: str, data: dict[str, Any] | None = None, **kwargs: Any) -> TestResponse:
        """Post a form with the token of its page."""
        return self.post(path, data={"csrf_token": self.csrf_token, **(data or {})}, **kwargs)

    def publish(self, path: str, data: dict[str, Any], **kwargs: Any) -> TestResponse:
        """Look at what the edit of a package does, then confirm just that."""
        page = self.submit(path, {**data, "act": "preview"}).get_data(as_text=True)
        seen = re.search(r'name="preview" value="(\w+)"', page)
        return self.submit(path, {**data, "preview": seen[1] if seen else ""}, **kwargs)

    def fragment(self, path: str, target: str, **headers: str) -> TestResponse:
        """What htmx asks for when it is about to swap the element with the id `target`."""
        return self.get(path, headers={"HX-Request": "true", "HX-Target": target, **headers})

    def sign_in(self, email: str, password: str = PASSWORD) -> TestResponse:
        """Through the real form."""
        page = self.get("/login").get_data(as_text=True)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token is not None
        return self.post("/login", data={"email": email, "password": password, "csrf_token": token[1]})


def _end_read() -> None:
    if not has_app_context():
        return
    session = db.session()
    unsaved = [*session.new, *session.dirty, *session.deleted]
    assert not unsaved, "the test changed rows and did not commit them"
    session.rollback()
