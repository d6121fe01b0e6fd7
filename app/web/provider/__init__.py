"""The operator's pages, /provider: for the provider's own people alone."""

from flask import Blueprint, Response

from app.web.guards import staff_only
from app.web.kit.render import render

bp = Blueprint("provider", __name__, url_prefix="/provider")
bp.before_request(staff_only)


@bp.get("/")
def home() -> Response:
    """Where staff arrive."""
    return render("provider/home.html")
