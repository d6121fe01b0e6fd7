"""A page or only its fragment, a redirect for either kind of client, and what is said after an act.

htmx 4 names the element it is about to swap as `tag#id` (`HX-Target: tbody#usage_rows`), with the id passed
through encodeURI, and says in HX-Request-Type whether it wants the whole page.
"""

from typing import Any
from urllib.parse import unquote

from flask import Response, flash, make_response, redirect, render_template, request, session
from jinja2_fragments.flask import render_block
from markupsafe import Markup

VARY = ("HX-Request", "HX-Target", "HX-Request-Type")


def is_htmx() -> bool:
    """True when htmx asks, for a fragment or for a page."""
    return request.headers.get("HX-Request") == "true"


def wanted_block() -> str:
    """The id of the element htmx is about to swap, or empty when the whole page is wanted."""
    if not is_htmx() or request.headers.get("HX-Request-Type") == "full":
        return ""
    return unquote(request.headers.get("HX-Target", "").rpartition("#")[2])


def render(template: str, *, block: str | tuple[str, ...] = (), status: int = 200, **context: Any) -> Response:
    """The whole page, or just `block` when htmx is about to swap the element of that id.

    A page with several fragments names them all. A fragment brings what was flashed along.
    """
    blocks = (block,) if isinstance(block, str) else block
    wanted = wanted_block()
    if wanted in blocks:
        html = render_block(template, wanted, **context) + _flashes()
    else:
        html = render_template(template, **context)
    response = make_response(html, status)
    response.vary.update(VARY)
    return response


def _flashes() -> str:
    """Messages for the live region of the page that is already there."""
    if not session.get("_flashes"):
        return ""
    inner = Markup(render_block("layouts/base.html", "flashes"))  # noqa: S704  a template, escaped by Jinja
    return str(Markup('<div hx-swap-oob="innerHTML:#flash">{}</div>').format(inner))


def render_error(template: str = "errors/error.html", *, status: int, **context: Any) -> Response:
    """An error page; where htmx wanted a fragment, it replaces the page's main part instead of the fragment."""
    response = make_response(render_template(template, status=status, **context), status)
    response.vary.update(VARY)
    if is_htmx():
        response.headers["HX-Retarget"] = "#main"
        response.headers["HX-Reselect"] = "#main"
        response.headers["HX-Reswap"] = "outerHTML"
    return response


def redirect_to(url: str) -> Response:
    """On to `url`: 303 for a browser; for htmx HX-Redirect, since fetch would follow a 303 unseen."""
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url, "Vary": ", ".join(VARY)})
    response = make_response(redirect(url, code=303))
    response.vary.update(VARY)
    return response


def say(text: str, kind: str = "success", *, undo_url: str = "", link_url: str = "", link_label: str = "") -> None:
    """Confirm an act on the next page: `kind` is success, info, warning or error.

    `undo_url` puts an Undo button (a POST) beside the words, `link_url` and `link_label` a link.
    """
    extras = {"text": text, "undo_url": undo_url, "link_url": link_url, "link_label": link_label}
    flash(extras if undo_url or link_url else text, kind)  # type: ignore[arg-type]  # the session keeps a dict as well
