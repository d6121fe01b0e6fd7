"""What the portal is called and looks like now, for pages, mails and documents, and the terms on which it sells.

What people chose is read anew every two seconds.
"""

from time import monotonic

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.domain.billing.terms import Terms
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


def terms() -> Terms:
    """What holds for every invoice and quote; what is drafted now keeps the logo of now."""
    return Terms.of(current_app.config["RINGPLAN"], current().logo)


def forget() -> None:
    """Read anew at the next question: it was just changed here."""
    current_app.extensions["branding"] = (None, 0.0)
