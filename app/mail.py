"""Mail: asked for by the transaction that wants it, sent by a worker, recognisable when it comes twice."""

import hashlib
import smtplib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.utils import formataddr, parseaddr
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Flask, current_app
from flask_mailman import EmailMessage, Mail  # type: ignore[import-untyped]
from flask_mailman.backends.smtp import EmailBackend  # type: ignore[import-untyped]
from jinja2_fragments.flask import render_block
from sqlalchemy.orm import Session

from app import branding
from app.config import Settings, public_url
from app.domain.jobs import service as jobs

KIND = "mail"
TIMEOUT_SECONDS = 15  # of one step of the SMTP dialogue


class Attachment(NamedTuple):
    """A file that goes with a mail."""

    filename: str
    content: bytes
    mimetype: str


class _Smtp(smtplib.SMTP):
    """STARTTLS that verifies the server, which smtplib by itself does not."""

    def starttls(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return super().starttls(context=ssl.create_default_context())


class _Backend(EmailBackend):  # type: ignore[misc]  # Flask-Mailman ships no types
    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return smtplib.SMTP_SSL if self.use_ssl else _Smtp


def init_app(app: Flask) -> None:
    """Configure Flask-Mailman; without a server, mails become files."""
    settings: Settings = app.config["RINGPLAN"]
    app.config.from_mapping(
        MAIL_BACKEND=_Backend if settings.MAIL_SERVER else "file",
        MAIL_FILE_PATH=str(Path(settings.RINGPLAN_INSTANCE) / "mail"),
        MAIL_SERVER=settings.MAIL_SERVER,
        MAIL_PORT=settings.MAIL_PORT,
        MAIL_USERNAME=settings.MAIL_USERNAME,
        MAIL_PASSWORD=settings.MAIL_PASSWORD,
        MAIL_USE_TLS=settings.MAIL_USE_TLS and not settings.MAIL_USE_SSL,
        MAIL_USE_SSL=settings.MAIL_USE_SSL,
        MAIL_TIMEOUT=TIMEOUT_SECONDS,
    )
    Mail().init_app(app)


def post(
    session: Session,
    key: str,
    to: str,
    template: str,
    *,
    now: datetime,
    kind: str = KIND,
    about: dict[str, Any] | None = None,
    **context: Any,
) -> None:
    """Ask for one mail to one address in the running transaction; `key` makes asking twice ask once.

    A job of another `kind` is told what the mail is `about`, and sends it with more than its words.
    `mail/<template>.txt` has it as the blocks `subject` and `body`; `link(endpoint, …)` in them is a page's address.
    """
    jobs.enqueue(session, kind, key, words(to, template, **context) | (about or {}), now=now)


def words(to: str, template: str, **context: Any) -> dict[str, Any]:
    """What `send` sends: to whom, the subject and the body."""
    subject, body = (render_block(f"mail/{template}.txt", block, link=link, **context) for block in ("subject", "body"))
    return {"to": to, "subject": " ".join(subject.split()), "body": f"{body.strip()}\n{_footer()}"}


def _footer() -> str:
    """Who to ask, and what the law wants said; below the mark that mail programs fold away."""
    chosen = branding.current()
    lines = [line for line in (chosen.support, chosen.legal_footer) if line]
    return "\n-- \n" + "\n".join(lines) + "\n" if lines else ""


def send(key: str, payload: dict[str, Any], attached: Sequence[Attachment] = ()) -> None:
    """Hand one mail to the server. Raises OSError and its kinds, such as SMTPException, when that fails."""
    sender = _sender()
    mark = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    headers = {
        "Message-ID": f"<{mark}@{sender[1].rpartition('@')[2]}>",  # the same when it is sent again
        "Auto-Submitted": "auto-generated",  # RFC 3834: no holiday answers
    }
    with current_app.extensions["mailman"].get_connection() as connection:
        message = EmailMessage(
            payload["subject"],
            payload["body"],
            formataddr(sender),
            to=[payload["to"]],
            headers=headers,
            connection=connection,
        )
        for file in attached:
            message.attach(*file)
        message.send()


def link(endpoint: str, **values: Any) -> str:
    """The address of a page as its readers reach it, for words that leave the portal."""
    path = current_app.url_map.bind("").build(endpoint, values)
    return public_url(current_app.config["RINGPLAN"]) + path


def _sender() -> tuple[str, str]:
    """Name and address that mails come from."""
    settings: Settings = current_app.config["RINGPLAN"]
    name, address = parseaddr(branding.current().mail_from)
    return name or settings.PROVIDER_NAME, address or f"no-reply@{urlsplit(public_url(settings)).hostname}"
