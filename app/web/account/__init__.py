"""What is the signed-in person's own, /account: the name and address, how numbers and times
are shown, the password, the second factor, where one is signed in."""

from flask import Blueprint

bp = Blueprint("account", __name__, url_prefix="/account")

from app.web.account import (  # noqa: E402  views register on `bp`
    confirm,  # noqa: F401
    display,  # noqa: F401
    email,  # noqa: F401
    password,  # noqa: F401
    profile,  # noqa: F401
    security,  # noqa: F401
    sessions,  # noqa: F401
)
