"""Lines of bank files that no invoice number explained: whose they are, or why they are nobody's."""

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import SelectField, StringField
from wtforms.validators import InputRequired, Length

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.billing import bank_lines
from app.domain.billing.bank_lines import Suggestion
from app.web.guards import current_user, needs
from app.web.kit.formats import money
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.bank import why_words


class AssignForm(Form):
    """Whose a line is: one of those suggested, or another by name."""

    suggested = SelectField(_("Whose it is"), default="", validate_choice=False)
    target = StringField(_("Or an invoice number, or a tenant's slug, PBX domain or account code"), [Length(max=255)])

    @property
    def wanted(self) -> str:
        """What was typed, else what was chosen."""
        return str(self.target.data or "").strip() or str(self.suggested.data or "")


class IgnoreForm(Form):
    """Why a line is nobody's."""

    reason = StringField(
        _("Why it is nobody's"),
        [InputRequired(_("Say why it is nobody's.")), Length(max=bank_lines.MAX_REASON)],
    )


@bp.get("/billing/bank/lines")
@needs(Permission.READ_BILLING)
def bank_line_list() -> Response:
    """What waits, or was decided; newest first."""
    state = request.args.get("state", bank_lines.OPEN)
    state = state if state in (bank_lines.OPEN, bank_lines.ASSIGNED, bank_lines.IGNORED) else bank_lines.OPEN
    after = decode_cursor(request.args.get("after"), int)
    return render(
        "provider/bank_lines.html",
        block="lines",
        page=bank_lines.find(db.session(), state, after=after[0] if after else None),
        state=state,
        why=why_words(),
    )


@bp.route("/billing/bank/lines/<int:line_id>", methods=["GET", "POST"])
@needs(Permission.READ_BILLING, to_change=Permission.CHANGE_BILLING)
def bank_line(line_id: int) -> Response:
    """One line with what is suggested; a POST enters it as the payment of whoever was chosen."""
    form = AssignForm()
    if not form.is_submitted():
        return _page(line_id, form, IgnoreForm())
    actor = current_user.email

    def act(session: Session) -> str:
        tenant, invoice = bank_lines.target(session, form.wanted)
        bank_lines.assign(session, line_id, tenant, invoice, actor=actor, now=utc_now())
        return tenant.name

    try:
        if not form.validate():
            return _page(line_id, form, IgnoreForm(formdata=None), 422)
        name = run_in_transaction(act)
    except DomainError as error:
        if error.code == "unknown_line":
            raise
        add_refusal(form, error)
        return _page(line_id, form, IgnoreForm(formdata=None), 422)
    say(gettext("The payment is entered for %(name)s.", name=name))
    return redirect_to(url_for("provider.bank_line_list"))


@bp.post("/billing/bank/lines/<int:line_id>/ignore")
@needs(Permission.CHANGE_BILLING)
def bank_line_ignore(line_id: int) -> Response:
    """It is nobody's, for the reason that was typed."""
    form, actor = IgnoreForm(), current_user.email
    try:
        if not form.validate():
            return _page(line_id, AssignForm(formdata=None), form, 422)
        reason = form.reason.data or ""
        run_in_transaction(lambda session: bank_lines.ignore(session, line_id, reason, actor=actor, now=utc_now()))
    except DomainError as error:
        if error.code == "unknown_line":
            raise
        add_refusal(form, error)
        return _page(line_id, AssignForm(formdata=None), form, 422)
    say(gettext("Set aside."), undo_url=url_for("provider.bank_line_reopen", line_id=line_id))
    return redirect_to(url_for("provider.bank_line_list"))


@bp.post("/billing/bank/lines/<int:line_id>/reopen")
@needs(Permission.CHANGE_BILLING)
def bank_line_reopen(line_id: int) -> Response:
    """It waits again."""
    actor = current_user.email
    try:
        run_in_transaction(lambda session: bank_lines.reopen(session, line_id, actor=actor, now=utc_now()))
    except DomainError as error:
        if error.code == "unknown_line":
            raise
        say(error.message, "warning")
    return redirect_to(url_for("provider.bank_line", line_id=line_id))


def _page(line_id: int, form: AssignForm, ignoring: IgnoreForm, status: int = 200) -> Response:
    session = db.session()
    line = bank_lines.get(session, line_id)
    suggested = bank_lines.suggestions(session, [line])[line.id] if line.state == bank_lines.OPEN else []
    form.suggested.choices = [*((_value(each), _words(each)) for each in suggested), ("", gettext("somebody else"))]
    if not form.is_submitted() and suggested:
        form.suggested.data = _value(suggested[0])
    return render("provider/bank_line.html", status=status, line=line, form=form, ignoring=ignoring, why=why_words())


def _value(found: Suggestion) -> str:
    return (found.invoice.number or "") if found.invoice else found.tenant.slug


def _words(found: Suggestion) -> str:
    """`Acme · 2026-00001, €49.00 open · same amount and name`."""
    grounds = gettext("same amount and name") if found.by_amount and found.by_name else (
        gettext("same amount") if found.by_amount else gettext("same name")
    )  # fmt: skip
    if found.invoice is None:
        return f"{found.tenant.name} · {grounds}"
    still_open = gettext("%(amount)s open", amount=money(found.invoice.open_micros, found.invoice.currency))
    return f"{found.tenant.name} · {found.invoice.number}, {still_open} · {grounds}"
