"""The installation's own logo and colours, as files that a browser keeps for ever: their names change with them."""

import hashlib

from flask import Blueprint, Flask, Response, abort, url_for
from werkzeug.local import LocalProxy

from app import branding
from app.config import Settings
from app.db import db
from app.domain.settings import service as settings
from app.domain.settings.service import Branding

bp = Blueprint("brand", __name__, url_prefix="/brand")
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def init_app(app: Flask) -> None:
    """What templates say of the installation."""
    chosen: Settings = app.config["RINGPLAN"]
    app.jinja_env.globals.update(
        branding=LocalProxy(branding.current),
        product_name=LocalProxy(lambda: branding.current().product_name),
        provider_name=chosen.PROVIDER_NAME,
        brand_style=brand_style,
        support_link=support_link,
    )
    app.register_blueprint(bp)


def brand_style() -> str:
    """The address of the colours' style sheet; empty where they are as they come."""
    sheet = _sheet(branding.current())
    return url_for("brand.style", name=_name_of(sheet)) if sheet else ""


def support_link() -> str:
    """Where a link to help leads."""
    support = branding.current().support
    return support if support.startswith("https://") else f"mailto:{support}"


@bp.get("/<string(length=32):name>.css")
def style(name: str) -> Response:
    """The accent colours over the tokens of app.css. 404 for those of another time."""
    sheet = _sheet(branding.current())
    if not sheet or name != _name_of(sheet):
        abort(404)
    return Response(sheet, mimetype="text/css", headers=FOR_EVER)


@bp.get("/<string(length=32):name>.png")
def logo(name: str) -> Response:
    """A logo, of now or of then."""
    png = settings.logo(db.session(), name)
    if png is None:
        abort(404)
    return Response(png, mimetype="image/png", headers=FOR_EVER)


def _sheet(chosen: Branding) -> str:
    """Colours were checked when they were chosen: nothing else of what was typed gets in here."""
    tokens = {"--rp-accent-on-light": chosen.accent, "--rp-accent-on-dark": chosen.accent_dark}
    lines = "".join(f"  {token}: {color};\n" for token, color in tokens.items() if color)
    return f":root, :root[data-bs-theme] {{\n{lines}}}\n" if lines else ""


def _name_of(sheet: str) -> str:
    return hashlib.blake2b(sheet.encode(), digest_size=16).hexdigest()
