"""What is typed about a tenant and its people."""

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import EmailField, IntegerField, StringField
from wtforms.validators import Email, InputRequired, Length, NumberRange, Optional, ValidationError

from app.domain.subscriptions.service import MOST_TRIAL_DAYS
from app.domain.tenants.service import TenantProfile
from app.web.kit.forms import CountryField, CurrencyField, Form, LocaleField, PrefixesField, TimeZoneField, UnitsField
from app.web.kit.i18n import gettext

RESERVED_SLUGS = frozenset({"new"})  # words of the addresses beside a tenant's own


class TenantForm(Form):
    """A tenant's profile. Slug, PBX domain and account code are the names machines may call it by."""

    name = StringField(_("Name"), [InputRequired(_("Give the tenant a name."))])
    slug = StringField(_("Slug"), [InputRequired(_("Give the tenant a slug."))])
    domain = StringField(_("PBX domain"))
    account_code = StringField(_("Account code"), [Length(max=64)])
    timezone = TimeZoneField(_("Time zone"))
    currency = CurrencyField(_("Currency"))
    country = CountryField(_("Country"), optional=True)
    locale = LocaleField(_("Numbers and dates"))
    units = UnitsField(_("Minutes"))
    contact_name = StringField(_("Contact"))
    contact_email = EmailField(_("Contact's e-mail address"), [Optional(), Email(_("This is no e-mail address."))])
    blocked_prefixes = PrefixesField(_("Blocked destinations"))

    def validate_slug(self, field: StringField) -> None:
        """Keep the slug out of the way of our own addresses."""
        if field.data in RESERVED_SLUGS:
            raise ValidationError(gettext("This word is taken by the portal itself; use another one."))

    def profile(self) -> TenantProfile:
        """What was typed, for the services."""
        return TenantProfile(**{name: getattr(self, name).data or "" for name in TenantProfile.__slots__})


class TrialForm(Form):
    """How long a tenant tries a package."""

    days = IntegerField(
        _("Days"),
        [
            InputRequired(_("Enter a number of days.")),
            NumberRange(1, MOST_TRIAL_DAYS, _("From %(min)s to %(max)s days.")),
        ],
        default=14,
    )
