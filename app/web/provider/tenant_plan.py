"""Putting a tenant on a package, and what tenants ask for."""

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.catalog import service as catalog
from app.domain.changes import requests
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.plans import PlanPages
from app.web.provider import bp
from app.web.provider.tenant_form import TrialForm


def _pages(slug: str) -> PlanPages:
    tenant = tenants.by_slug(db.session(), slug)
    return PlanPages(tenant.id, "provider.tenant_plan", "provider/tenant_plan", arguments={"slug": slug}, is_staff=True)


@bp.get("/tenants/<slug>/plan")
@needs(Permission.READ_PLANS)
def tenant_plan(slug: str) -> Response:
    """Choose a package; with `package`, what taking it would do."""
    return _pages(slug).show()


@bp.post("/tenants/<slug>/plan")
@needs(Permission.CHANGE_PLANS)
def tenant_plan_accept(slug: str) -> Response:
    """Do what a quote says; a request for it is approved with that."""
    return _pages(slug).accept()


@bp.post("/tenants/<slug>/plan/cancel")
@needs(Permission.CHANGE_PLANS)
def tenant_plan_cancel(slug: str) -> Response:
    """Drop the change that is pending."""
    return _pages(slug).cancel()


@bp.route("/tenants/<slug>/plan/end", methods=["GET", "POST"])
@needs(Permission.CHANGE_PLANS)
def tenant_plan_end(slug: str) -> Response:
    """End the tenant's package, at once or with its period."""
    return _pages(slug).end()


@bp.route("/tenants/<slug>/plan/trial", methods=["GET", "POST"])
@needs(Permission.CHANGE_PLANS)
def tenant_trial(slug: str) -> Response:
    """Let a tenant without a package try one for some days."""
    session = db.session()
    found, code = tenants.by_slug(session, slug), request.values.get("package", "").replace("\0", "")
    package = catalog.by_code(session, code)
    form = TrialForm()

    def act(unit: Session) -> None:
        tenant, wanted, now = tenants.by_slug(unit, slug), catalog.by_code(unit, code), utc_now()
        subscriptions.subscribe(unit, tenant, wanted, actor=current_user.email, now=now, trial_days=form.days.data or 0)

    try:
        if form.validate_on_submit():
            run_in_transaction(act)
            say(gettext("%(name)s tries %(package)s.", name=found.name, package=package.name))
            return redirect_to(url_for("provider.tenant", slug=slug))
    except DomainError as error:
        add_refusal(form, error)
    found, package = tenants.by_slug(session, slug), catalog.by_code(session, code)
    status = 422 if form.errors else 200
    return render("provider/tenant_trial.html", status=status, form=form, tenant=found, package=package)


@bp.get("/requests")
@needs(Permission.READ_PLANS)
def change_requests() -> Response:
    """What tenants ask for, oldest first."""
    return render("provider/requests.html", requests=requests.waiting(db.session()))


@bp.post("/requests/<slug>/<int:request_id>/decline")
@needs(Permission.CHANGE_PLANS)
def change_request_decline(slug: str, request_id: int) -> Response:
    """Say no, with words."""
    answer = request.form.get("answer", "")
    try:
        run_in_transaction(
            lambda session: requests.close(
                session, tenants.by_slug(session, slug), request_id, "declined", answer,
                actor=current_user.email, now=utc_now(),
            )
        )  # fmt: skip
        say(gettext("The request is declined; the tenant reads why."))
    except Conflict as error:
        say(error.message, "error")
    return redirect_to(url_for("provider.change_requests"))
