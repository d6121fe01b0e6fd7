"""Payments out of a bank's file: looked at first, then entered as they were looked at."""

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import FileField, TextAreaField
from wtforms.validators import Length

from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError, Invalid
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.billing import bank, bank_lines
from app.web.guards import current_user, needs
from app.web.kit.forms import CurrencyField, Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

MAX_CONTENT = 2_000_000  # characters of a file


class BankFileForm(Form):
    """A bank's file, or its lines pasted."""

    file = FileField(_("CSV file of the bank"))
    text = TextAreaField(_("Or paste its lines, the heading among them"), [Length(max=MAX_CONTENT)])
    currency = CurrencyField(_("Currency, where the file does not say it"), default="EUR")

    def content(self) -> str:
        """What the file says, else what was pasted. Raises Invalid for what is too long."""
        raw = self.file.data.read(4 * MAX_CONTENT) if self.file.data else b""
        try:
            found = raw.decode() if raw else str(self.text.data or "")
        except UnicodeDecodeError:
            found = raw.decode("cp1252", errors="replace")  # what banks write that do not write UTF-8
        if len(found) > MAX_CONTENT:
            raise Invalid("too_long", gettext("The file is too long."), field="file")
        return found


@bp.route("/billing/bank", methods=["GET", "POST"])
@needs(Permission.CHANGE_BILLING)
def billing_bank() -> Response:
    """Choose a file; a POST shows what each of its lines is, and enters nothing."""
    form = BankFileForm()
    try:
        if form.validate_on_submit():
            return _look(form.content(), form.currency.data)
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/billing_bank.html", status=422 if form.is_submitted() else 200, form=form)


@bp.post("/billing/bank/enter")
@needs(Permission.CHANGE_BILLING)
def billing_bank_enter() -> Response:
    """Enter the payments of the file that was looked at; where anything changed since, look once more."""
    content, currency = request.form.get("content", "")[:MAX_CONTENT], request.form.get("currency", "")[:3]
    mark, actor = request.form.get("mark", ""), current_user.email
    try:
        entered = run_in_transaction(
            lambda session: bank.enter(session, content, currency, mark, actor=actor, now=utc_now())
        )
    except Conflict as error:
        say(error.message, "warning")
        return _look(content, currency, status=409)
    except DomainError as error:
        say(error.message, "error")
        return redirect_to(url_for("provider.billing_bank"))
    say(ngettext("%(num)s payment is entered.", "%(num)s payments are entered.", entered))
    waiting = bank_lines.count_open(db.session())
    return redirect_to(url_for("provider.bank_line_list" if waiting else "provider.billing"))


def _look(content: str, currency: str, status: int = 200) -> Response:
    found = bank.preview(db.session(), content, currency)
    return render(
        "provider/billing_bank_look.html",
        status=status,
        found=found,
        content=content,
        currency=currency,
        why=why_words(),
    )


def why_words() -> dict[str, str]:
    """Why lines are not matched, in words."""
    return {
        "outgoing": gettext("money that went out"),
        "no_number": gettext("no invoice number in it"),
        "unknown_number": gettext("no invoice has this number"),
        "several_tenants": gettext("names invoices of several tenants"),
        "other_currency": gettext("another currency than the invoice's"),
        "day": gettext("its day cannot be read"),
        "amount": gettext("its amount cannot be read"),
    }
