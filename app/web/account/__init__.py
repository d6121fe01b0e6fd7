"""What is the signed-in person's own, /account: the name and address, the password, where one is signed in."""

from flask import Blueprint

bp = Blueprint("account", __name__, url_prefix="/account")

from app.web.account import email, password, profile, sessions  # noqa: E402, F401  views register on `bp`
