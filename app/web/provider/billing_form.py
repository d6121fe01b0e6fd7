"""What is typed about invoices, payments, profiles and tax rates."""

from decimal import Decimal

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import (  # type: ignore[attr-defined]  # SelectChoice is newer than the types
    BooleanField,
    DateField,
    DecimalField,
    EmailField,
    HiddenField,
    IntegerField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import Email, InputRequired, NumberRange, Optional

from app.domain.billing.lines import Rate
from app.domain.billing.profiles import MOST_PAYMENT_DAYS, Profile
from app.web.kit.forms import Form, MoneyField

_PPM_OF_PERCENT = 10_000


class LineForm(Form):
    """A line of staff's own on a draft."""

    name = StringField(_("What for"), [InputRequired(_("Say what the line is for."))])
    quantity = IntegerField(_("How many"), [InputRequired(_("Enter a whole number."))], default=1)
    price = MoneyField(_("Price of one"), [InputRequired(_("Enter a price."))])
    takes_off = BooleanField(_("It is taken off"))
    tax_code = SelectField(_("Tax"))

    @property
    def price_micros(self) -> int:
        """Negative where it is taken off."""
        price = int(self.price.data or 0)
        return -price if self.takes_off.data else price


class PaymentForm(Form):
    """What came in, or went back to the tenant."""

    amount = MoneyField(_("Amount"), [InputRequired(_("Enter an amount."))])
    method = SelectField(
        _("How"),
        choices=[
            SelectChoice("bank", _("bank transfer")),
            SelectChoice("card", _("card")),
            SelectChoice("cash", _("cash")),
        ],
    )
    reference = StringField(_("Reference"), [InputRequired(_("Enter the reference of the payment."))])
    received_on = DateField(_("On"), [InputRequired(_("Enter the day."))])
    invoice = SelectField(_("For"), default="", validate_choice=False)  # sent twice, it is paid by then
    back = HiddenField()


class ProfileForm(Form):
    """How a tenant is billed."""

    legal_name = StringField(_("Name on invoices"))
    address = TextAreaField(_("Address"))
    tax_id = StringField(_("VAT ID"))
    tax_code = SelectField(_("Tax"))
    payment_days = IntegerField(
        _("Days to pay"), [InputRequired(_("Enter a number of days.")), NumberRange(0, MOST_PAYMENT_DAYS)]
    )
    email = EmailField(_("Invoices go to"), [Optional(), Email(_("This is no e-mail address."))])
    prepaid = BooleanField(_("Pays in advance what lies beyond its package"))
    low_micros = MoneyField(_("Balance is low from"), [Optional()])

    def profile(self) -> Profile:
        """What was typed, for the services."""
        return Profile(
            self.tax_code.data,
            int(self.payment_days.data or 0),
            self.legal_name.data or "",
            self.address.data or "",
            self.tax_id.data or "",
            self.email.data or "",
            bool(self.prepaid.data),
            int(self.low_micros.data or 0),
        )


class RateForm(Form):
    """A tax rate."""

    code = StringField(_("Code"), [InputRequired(_("Give the rate a code."))])
    name = StringField(_("Name on invoices"), [InputRequired(_("Give the rate a name."))])
    percent = DecimalField(
        _("Percent"), [InputRequired(_("Enter a percentage, 0 for none.")), NumberRange(0, 100)], places=None
    )
    inclusive = BooleanField(_("Prices hold the tax already"))
    category = SelectField(
        _("Kind"),
        choices=[
            SelectChoice("S", _("standard or reduced rate")),
            SelectChoice("Z", _("zero rate")),
            SelectChoice("E", _("exempt")),
            SelectChoice("AE", _("reverse charge")),
            SelectChoice("O", _("outside the scope of tax")),
        ],
    )
    note = StringField(_("Note on invoices"))

    def rate(self) -> Rate:
        """What was typed, for the services."""
        ppm = int((self.percent.data or Decimal(0)) * _PPM_OF_PERCENT)
        return Rate(
            self.code.data or "", self.name.data or "", ppm, bool(self.inclusive.data), self.category.data,
            self.note.data or "",
        )  # fmt: skip
