"""Tenants: the list, and creating, changing, suspending one."""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, abort, request, url_for

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.core.money import format_micros
from app.db import db, unit_of_work
from app.domain.accounts.roles import Permission
from app.domain.catalog import browse
from app.domain.insight import tenant_list
from app.domain.subscriptions import life, service as subscriptions
from app.domain.subscriptions.listing import PAGE_SIZE, TenantQuery, cursor_shape
from app.domain.tenants import service as tenants_service
from app.web.guards import current_user, needs
from app.web.kit.csv import csv_response
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.tenant_form import TenantForm

FILTERS = ("text", "package", "state", "currency", "sort")
MAX_TEXT = 100
CSV_HEADER = (
    "name", "slug", "domain", "account code", "contact", "e-mail", "since", "status", "package", "subscription",
    "price", "currency", "per", "nearest its limit", "percent used",
)  # fmt: skip


@bp.get("/tenants")
@needs(Permission.READ_TENANTS)
def tenants() -> Response:
    """Search, filter and sort; typing swaps only the rows, and the address keeps all of it."""
    query = _query()
    after, before = (decode_cursor(request.args.get(name), *cursor_shape(query.sort)) for name in ("after", "before"))
    found = tenant_list.list_tenants(db.session(), query, now=utc_now(), after=after, before=before)
    choices = [(package.code, package.name) for package in browse.list_packages(db.session())]
    return render("provider/tenants.html", block="tenant_rows", page=found, query=query, package_choices=choices)


@bp.get("/tenants.csv")
@needs(Permission.READ_TENANTS)
def tenants_csv() -> Response:
    """Every tenant that fits the filters, in the order of the list, written while it is read."""
    return csv_response("tenants.csv", CSV_HEADER, _csv_rows(_query()))


def _query() -> TenantQuery:
    given = {name: request.args[name][:MAX_TEXT].strip() for name in FILTERS if request.args.get(name)}
    return TenantQuery(**{name: value.replace("\0", "") for name, value in given.items()})


def _csv_rows(query: TenantQuery) -> Iterator[tuple[Any, ...]]:
    for entry, meter in tenant_list.every_tenant(db.session(), query, now=utc_now()):
        tenant, subscription = entry.tenant, entry.subscription
        revision = subscription.package.revision if subscription else None
        yield (
            tenant.name,
            tenant.slug,
            tenant.domain or "",
            tenant.account_code or "",
            tenant.contact_name,
            tenant.contact_email,
            tenant.created_at.astimezone(ZoneInfo(tenant.timezone)).date().isoformat(),
            tenant.status,
            subscription.package.code if subscription else "",
            subscription.status if subscription else "",
            format_micros(revision.price_micros) if revision else "",
            revision.currency if revision else tenant.currency,
            revision.interval if revision else "",
            meter.resource_code if meter else "",
            int(meter.fill * 100) if meter else "",
        )


@bp.route("/tenants/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_TENANTS)
def tenant_new() -> Response:
    """A new tenant; the address may bring what is known of it already (`?domain=acme.example`)."""
    form = TenantForm(data={"currency": "EUR", "timezone": "UTC", **request.args.to_dict()})
    if not form.is_submitted():
        return render("provider/tenant_edit.html", form=form, tenant=None)
    try:
        if form.validate():
            with unit_of_work() as session:
                made = tenants_service.create(session, form.profile(), actor=current_user.email, now=utc_now())
            say(gettext("%(name)s is there. Next: put it on a package.", name=made.name))
            return redirect_to(url_for("provider.tenant", slug=made.slug))
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/tenant_edit.html", form=form, tenant=None, status=422)


@bp.route("/tenants/<slug>/edit", methods=["GET", "POST"])
@needs(Permission.CHANGE_TENANTS)
def tenant_edit(slug: str) -> Response:
    """Change a tenant's details."""
    found = tenants_service.by_slug(db.session(), slug)
    form = TenantForm(obj=found)
    if not form.is_submitted():
        return render("provider/tenant_edit.html", form=form, tenant=found)
    try:
        if form.validate():
            with unit_of_work() as session:
                changed = subscriptions.change_profile(
                    session,
                    tenants_service.by_slug(session, slug),
                    form.profile(),
                    actor=current_user.email,
                    now=utc_now(),
                )
            say(gettext("The details of %(name)s are saved.", name=changed.name))
            return redirect_to(url_for("provider.tenant", slug=changed.slug))
    except DomainError as error:
        add_refusal(form, error)
    found = tenants_service.by_slug(db.session(), slug)
    return render("provider/tenant_edit.html", form=form, tenant=found, status=422)


@bp.post("/tenants/<slug>/suspend")
@needs(Permission.CHANGE_TENANTS)
def tenant_suspend(slug: str) -> Response:
    """Suspend at once, with an undo beside the confirmation."""
    return _set_suspended(slug, True)


@bp.post("/tenants/<slug>/resume")
@needs(Permission.CHANGE_TENANTS)
def tenant_resume(slug: str) -> Response:
    """Take a suspension back."""
    return _set_suspended(slug, False)


@bp.post("/tenants/ticked")
@needs(Permission.CHANGE_TENANTS)
def tenants_ticked() -> Response:
    """Suspend or resume those ticked in the list, all or none of them; the undo of the first is the second."""
    if request.values.get("act") not in ("suspend", "resume"):
        abort(400)
    suspended = request.values["act"] == "suspend"
    slugs = request.values.getlist("tenant")[:PAGE_SIZE]
    filters: dict[str, Any] = {name: request.args[name] for name in FILTERS if request.args.get(name)}
    with unit_of_work() as session:
        act, edge = life.suspend if suspended else life.resume, {"actor": current_user.email, "now": utc_now()}
        found = tenants_service.by_slugs(session, slugs)
        moved = [tenant.slug for tenant in found if act(session, tenant, "staff", **edge)]
    if not slugs:
        say(gettext("Nobody is ticked: tick the tenants that are meant."), "warning")
    elif not moved:
        say(gettext("They were suspended already.") if suspended else gettext("None of them was suspended."), "info")
    elif suspended:
        undo = url_for("provider.tenants_ticked", act="resume", tenant=moved, **filters)
        say(
            ngettext(
                "%(num)s tenant is suspended. What it uses is still counted.",
                "%(num)s tenants are suspended. What they use is still counted.",
                len(moved),
            ),
            undo_url=undo,
        )
    else:
        say(ngettext("%(num)s tenant is active again.", "%(num)s tenants are active again.", len(moved)))
    return redirect_to(url_for("provider.tenants", **filters))


def _set_suspended(slug: str, suspended: bool) -> Response:
    with unit_of_work() as session:
        tenant = tenants_service.by_slug(session, slug)
        act = life.suspend if suspended else life.resume
        act(session, tenant, "staff", actor=current_user.email, now=utc_now())
    if suspended:
        undo = url_for("provider.tenant_resume", slug=slug)
        say(gettext("%(name)s is suspended. What it uses is still counted.", name=tenant.name), undo_url=undo)
    else:
        say(gettext("%(name)s is active again.", name=tenant.name))
    return redirect_to(url_for("provider.tenant", slug=slug))
