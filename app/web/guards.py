"""Who is asking, and what is closed to them. Every view is closed until it names the permission that opens it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import flask_login  # type: ignore[import-untyped]
from flask import Flask, abort, current_app, g, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden, HTTPException

from app import wall
from app.core.clock import utc_now
from app.core.display import Display
from app.db import keep_nothing, run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import READING, SENSITIVE, Permission, Role, who_may
from app.domain.accounts.sessions import FoundSignIn, View
from app.web.auth.next_page import local_page
from app.web.kit.display import PLAIN
from app.web.kit.render import is_htmx, redirect_to

# The gate asks for an API key, the webhook for a signature, the second step for the first one.
MAILED_LINKS = frozenset({"auth.forgot", "auth.reset", "auth.invitation", "auth.new_email"})  # a token proves who asks
SIGNING_IN = frozenset({"auth.login", "auth.second", "auth.passkey", "auth.sso", "auth.sso_return"})
LOOKS = frozenset({"static", "brand.style", "brand.logo"})  # which the sign-in pages show, too
OPEN_ENDPOINTS = MAILED_LINKS | SIGNING_IN | LOOKS | {"healthz", "readyz", "metrics", "gate", "stripe_webhook"}
OPEN_BLUEPRINTS = frozenset({"api"})  # guarded by API keys
SETTING_UP = frozenset({"account.security", "account.confirm", "auth.logout"})
CONFIRMED_FOR = timedelta(minutes=15)  # how long a proof of identity opens what is sensitive
OPEN_TO_VIEWS = frozenset({"viewing.end", "auth.logout", "auth.index"})  # while staff view as a tenant
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
AnyView = TypeVar("AnyView", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Visitor(flask_login.UserMixin):  # type: ignore[misc]  # Flask-Login ships no types
    """The person of the running request, as plain values: they outlive a rollback, a row would be asked for again."""

    token: str
    account_id: int
    email: str
    name: str
    tenant_id: int | None
    role: Role
    confirmed_at: datetime  # when they last proved who they are
    lacks_second_factor: bool  # which is demanded of the role: nothing is open but to set one up
    display: Display = PLAIN
    view: View | None = None  # staff who look at a tenant's pages
    due: bool = False  # the sign-in should be noted as seen

    def get_id(self) -> str:
        """What the cookie holds: the token of the sign-in, not the account."""
        return self.token

    @property
    def is_staff(self) -> bool:
        """True for the provider's own people."""
        return self.tenant_id is None

    def may(self, permission: Permission) -> bool:
        """Whether the visitor's role has the permission; who views as a tenant, as that tenant's role and to read."""
        if self.view:
            return permission in READING and self.view.role in who_may(permission, is_staff=False)
        return self.role in who_may(permission, is_staff=self.is_staff)


class Needs(NamedTuple):
    """The permissions to open a view, and to send something to it."""

    to_look: Permission
    to_change: Permission


class MissingPermission(Forbidden):
    """The visitor's role lacks `permission`: a page says so, and who has it."""

    def __init__(self, permission: Permission) -> None:
        super().__init__()
        self.permission = permission


class OnlyLooking(Forbidden):
    """The visitor views the portal as a tenant, which changes nothing and shows nothing else."""


def needs(permission: Permission, *, to_change: Permission | None = None) -> Callable[[AnyView], AnyView]:
    """Name what a view needs, below its route; `to_change` is for its unsafe methods where they need more."""

    def mark(view: AnyView) -> AnyView:
        view.needs = Needs(permission, to_change or permission)  # type: ignore[attr-defined]
        return view

    return mark


class SignIns(flask_login.LoginManager):  # type: ignore[misc]  # Flask-Login ships no types
    """Flask-Login without its fingerprint of address and browser: sign-ins are kept on the server and end there."""

    def _session_protection_failed(self) -> bool:
        return False


current_user: Any = flask_login.current_user  # a Visitor, or Flask-Login's anonymous user


def init_app(app: Flask) -> None:
    """Load the visitor from the cookie's token, and close every route."""
    manager = SignIns()
    manager.user_loader(_load_visitor)
    # Not manager.init_app(): it would read the session on every answer, static files included, for a
    # remember cookie that is not used, and load the visitor for error pages when the database is away.
    app.login_manager = manager  # type: ignore[attr-defined]
    app.jinja_env.globals["current_user"] = current_user
    app.jinja_env.globals.update(may=may, may_open=may_open)
    app.before_request(require_rights)


def require_rights() -> ResponseReturnValue | None:
    """Let in who may: signed in, of the side whose pages these are, with the permission that the view names."""
    if (
        request.endpoint is None
        or request.endpoint in OPEN_ENDPOINTS
        or OPEN_BLUEPRINTS.intersection(request.blueprints)
    ):
        wall.show(wall.EVERY_TENANT)
        return None
    if "\0" in request.path:  # no name has one, and PostgreSQL refuses even to look
        abort(404)
    visitor = current_user._get_current_object()
    if not visitor.is_authenticated:
        return redirect_to(url_for("auth.login", next=_page_to_return_to()))
    wall.show(_shown_to(visitor))
    g.display = visitor.display
    if visitor.view:
        _check_view(visitor.view)
    else:
        _check_side(visitor)
    if not visitor.view or request.endpoint not in OPEN_TO_VIEWS:
        _check_permission(visitor)
    if visitor.lacks_second_factor and not _helps_to_set_one_up():
        return redirect_to(url_for("account.security"))
    if visitor.due:
        _keep_alive(visitor.token)
    if visitor.view and request.endpoint not in OPEN_TO_VIEWS:
        keep_nothing()  # also a quote is written by a look
    return None


def _shown_to(visitor: Visitor) -> int:
    """Whose rows the request may see."""
    if visitor.view and request.endpoint not in OPEN_TO_VIEWS:
        return visitor.view.tenant_id
    return wall.EVERY_TENANT if visitor.tenant_id is None else visitor.tenant_id


def _check_side(visitor: Visitor) -> None:
    """To a tenant's user the provider's pages do not exist, nor to staff the tenants'. Sets `g.tenant_id`, the one
    tenant that a tenant's pages may ask about."""
    if request.blueprint in ("provider", "viewing") and not visitor.is_staff:
        abort(404)
    if request.blueprint == "tenant":
        if visitor.tenant_id is None:
            abort(404)
        g.tenant_id = visitor.tenant_id


def _check_view(view: View) -> None:
    """Who views as a tenant reads that tenant's pages, ends the view or signs out. Sets `g.tenant_id` and `g.view`."""
    g.view = view
    if request.endpoint in OPEN_TO_VIEWS:
        return
    if request.method not in SAFE_METHODS or request.blueprint != "tenant":
        raise OnlyLooking
    g.tenant_id = view.tenant_id


def _check_permission(visitor: Visitor) -> None:
    permission = _needed(str(request.endpoint), request.method)
    if permission is None:  # nobody said who may
        abort(403)
    if not visitor.may(permission):
        raise MissingPermission(permission)
    if permission in SENSITIVE and visitor.confirmed_at <= utc_now() - CONFIRMED_FOR:
        acted = request.method not in SAFE_METHODS
        abort(redirect_to(url_for("account.confirm", next=_page_to_return_to() or _page_before(), again=acted or None)))


def _helps_to_set_one_up() -> bool:
    """Whether the view is open to whoever must set up a second factor first."""
    endpoint = str(request.endpoint)
    return endpoint in SETTING_UP or _needed(endpoint, request.method) == Permission.CHANGE_SECOND_FACTOR


def confirmed() -> None:
    """Note that the visitor has just proven again who they are."""
    token = current_user.token
    run_in_transaction(lambda unit: accounts.note_confirmed(unit, token, now=utc_now()))


def _needed(endpoint: str, method: str) -> Permission | None:
    """The permission that the view names; None where it names none."""
    named: Needs | None = getattr(current_app.view_functions[endpoint], "needs", None)
    if named is None:
        return None
    return named.to_look if method in SAFE_METHODS else named.to_change


def may(permission: str) -> bool:
    """For templates: whether to offer what needs the permission. Raises ValueError for a name that there is not."""
    wanted = Permission(permission)
    return bool(current_user.is_authenticated) and bool(current_user.may(wanted))


def may_open(target: str, method: str = "GET") -> bool:
    """For templates: whether to offer a page of the visitor's own side, by its endpoint or its address."""
    endpoint = target
    if "/" in target:
        endpoint = str(current_app.url_map.bind("").match(urlsplit(target).path, method)[0])
    permission = _needed(endpoint, method)
    return permission is None or may(permission)


def sign_in(account: Account) -> None:
    """Sign this browser in, with a new session in place of whatever it held before.

    Raises Invalid (`wrong_credentials`) where the account was closed or its password replaced at this very moment.
    """
    now, account_id, known = utc_now(), account.id, account.password_hash
    before = str(session.get("_user_id", ""))
    address, agent = request.remote_addr or "", request.user_agent.string

    def act(unit: Any) -> str:
        accounts.end_session(unit, before, now=now)
        found = accounts.unchanged(unit, account_id, known)
        return accounts.open_session(unit, found, address=address, user_agent=agent, now=now)

    token = run_in_transaction(act)
    session.clear()
    session.permanent = True
    who = (account.id, account.email, account.name, account.tenant_id, Role(account.role))
    flask_login.login_user(Visitor(token, *who, now, lacks_second_factor=False))


def sign_out() -> None:
    """End this browser's sign-in on the server and forget it here."""
    token = current_user.token
    run_in_transaction(lambda unit: accounts.sign_out(unit, token, now=utc_now()))
    session.clear()


def still_signed_in(token: str, view: View | None) -> bool:
    """For answers that last: asks the database anew whether the sign-in still counts, and is still of this view."""
    visitor = _load_visitor(token)
    return visitor is not None and visitor.view == view


def home_url() -> str:
    """Where the visitor's pages begin."""
    return url_for("provider.home" if current_user.is_staff and not current_user.view else "tenant.home")


def _load_visitor(token: str) -> Visitor | None:
    found = _find(token)
    if found is None:
        return None
    due = accounts.is_due(found, utc_now())
    who = (found.account_id, found.email, found.name, found.tenant_id, found.role)
    may_view = found.role in who_may(Permission.VIEW_AS_TENANT, is_staff=found.tenant_id is None)
    view = found.view if found.view and may_view else None
    return Visitor(token, *who, found.confirmed_at, found.lacks_second_factor, found.display, view, due)


def _find(token: str) -> FoundSignIn | None:
    idle = current_app.permanent_session_lifetime
    return accounts.find_session(token, now=utc_now(), idle=idle)


def _keep_alive(token: str) -> None:
    """Note the visit, and let the browser's cookie last as long as the sign-in."""
    with wall.unwalled():
        run_in_transaction(lambda unit: accounts.touch(unit, token, now=utc_now()))
    session.modified = True


def _page_to_return_to() -> str | None:
    """The page being looked at: for a fragment the one it belongs to; none for the start page or after a POST."""
    if is_htmx():
        shown = urlsplit(request.headers.get("HX-Current-URL", ""))
        target = f"{shown.path}?{shown.query}".rstrip("?")
    elif request.method in ("GET", "HEAD"):
        target = request.full_path.rstrip("?")
    else:
        return None
    return local_page(target) if target != "/" else None


def _page_before() -> str | None:
    """The page that a form was sent from, where it can be looked at again."""
    came_from = urlsplit(request.referrer or "")
    target = local_page(f"{came_from.path}?{came_from.query}".rstrip("?"))
    adapter = current_app.create_url_adapter(request)
    try:
        if target and adapter and came_from.netloc == request.host:
            adapter.match(came_from.path, method="GET")
            return target
    except HTTPException:  # a page that only a form leads to
        pass
    return None
