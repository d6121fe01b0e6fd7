"""What the portal is called and looks like, for the whole installation."""

from dataclasses import replace
from datetime import datetime

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import BooleanField, FileField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from app import branding
from app.core.clock import utc_now
from app.core.errors import Invalid
from app.db import run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.settings import service as settings
from app.domain.settings.service import Branding
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

MAX_FOOTER = 2_000


class BrandingForm(Form):
    """The fields of Branding; a logo comes as a file."""

    product_name = StringField(
        _("Name of the portal"),
        [InputRequired(_("The portal needs a name.")), Length(max=60)],
        description=_("In the menu, in titles and in mails."),
    )
    support = StringField(
        _("Where to ask for help"),
        description=_("An e-mail address or the https address of a page; at the foot of every page and mail."),
    )
    mail_from = StringField(
        _("Sender of mails"),
        description=_("An address, or a name with the address in angle brackets. Empty: as the server is set up."),
    )
    legal_footer = TextAreaField(
        _("Legal footer"),
        [Length(max=MAX_FOOTER)],
        description=_("Company, register, managing directors: at the foot of every page and mail."),
    )
    logo_file = FileField(
        _("Logo"), description=_("PNG or JPEG of at most 1 MB; at the top of every page, on invoices and statements.")
    )
    no_logo = BooleanField(_("Without a logo"))
    accent = StringField(_("Accent colour on light"), description=_("Such as #2746c7. Empty: as it comes."))
    accent_dark = StringField(_("Accent colour on dark"), description=_("Such as #8fa5ff. Empty: as it comes."))


@bp.route("/settings", methods=["GET", "POST"])
@needs(Permission.READ_SETTINGS, to_change=Permission.CHANGE_SETTINGS)
def portal_settings() -> Response:
    """Show them, and save what was changed."""
    form = BrandingForm(obj=branding.current())
    if form.validate_on_submit():
        try:
            changed = run_in_transaction(lambda session: _save(session, form, actor=current_user.email, now=utc_now()))
            branding.forget()
            say(gettext("Saved. Every page shows it within seconds.") if changed else gettext("Nothing was changed."))
            return redirect_to(url_for("provider.portal_settings"))
        except Invalid as error:
            add_refusal(form, error)
    return render("provider/portal_settings.html", form=form, status=422 if form.is_submitted() else 200)


def _save(session: Session, form: BrandingForm, *, actor: str, now: datetime) -> bool:
    before = settings.locked(session, branding.defaults())
    wanted = Branding(
        product_name=form.product_name.data or "",
        support=form.support.data or "",
        mail_from=form.mail_from.data or "",
        legal_footer=(form.legal_footer.data or "").replace("\r\n", "\n"),
        accent=(form.accent.data or "").lower(),
        accent_dark=(form.accent_dark.data or "").lower(),
        logo="" if form.no_logo.data else before.logo,
    )
    if form.logo_file.data:
        content = form.logo_file.data.stream.read(settings.MAX_LOGO_BYTES + 1)
        wanted = replace(wanted, logo=settings.keep_logo(session, content, now=now))
    return settings.change(session, wanted, branding.defaults(), actor=actor, now=now)
