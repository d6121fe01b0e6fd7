"""What the portal is called and looks like now, for pages, mails and documents. Read anew every two seconds."""

from time import monotonic
from typing import Any

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.domain.settings import service as settings
from app.domain.settings.service import Branding

FRESH_SECONDS = 2.0


def init_app(app: Flask) -> None:
    """Nothing is read before somebody asks."""
    app.extensions["branding"] = (None, 0.0)


def current() -> Branding:
    """As it stands; while the database is away, as it stood."""
    known, read_at = current_app.extensions["branding"]
    if known is None or monotonic() - read_at > FRESH_SECONDS:
        try:
            known = settings.read(defaults())
        except SQLAlchemyError:
            known = known or defaults()
        current_app.extensions["branding"] = (known, monotonic())
    found: Branding = known
    return found


def defaults() -> Branding:
    """What holds where nothing was chosen."""
    chosen: Settings = current_app.config["RINGPLAN"]
    return Branding(product_name=chosen.PRODUCT_NAME, mail_from=chosen.MAIL_FROM)


def forget(_: Any = None) -> None:
    """Read anew at the next question: it was just changed here."""
    current_app.extensions["branding"] = (None, 0.0)
