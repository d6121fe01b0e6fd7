"""The package editor: terms, and one row for each resource."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import (  # type: ignore[attr-defined]  # SelectChoice is newer than the types
    BooleanField,
    HiddenField,
    SelectChoice,
    SelectField,
    StringField,
)
from wtforms.validators import InputRequired, ValidationError

from app.domain.catalog.models import Resource
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.web.kit.forms import CurrencyField, Form, MoneyField, PrefixesField, QuantityField
from app.web.kit.i18n import gettext
from app.web.provider.package_words import rollover_words

ROLLOVER_PERIODS = (0, 1, 2, 3, 6, 12)
RESERVED_CODES = frozenset({"new"})  # words of the addresses beside a package's own


class PackageForm(Form):
    """The terms. `base` is the number of the revision the editor was opened on."""

    base = HiddenField()
    name = StringField(_("Name"), [InputRequired(_("Give the package a name."))], description=_("As tenants read it."))
    code = StringField(
        _("Code"), [InputRequired(_("Give the package a code."))], description=_("What machines know it by; it stays.")
    )
    price = MoneyField(_("Price"))
    cost = MoneyField(_("Your cost"))
    setup_fee = MoneyField(_("Setup fee"))
    interval = SelectField(
        _("Billed"), choices=[SelectChoice("month", _("every month")), SelectChoice("year", _("every year"))]
    )
    currency = CurrencyField(_("Currency"))
    public = BooleanField(_("Shown to tenants"))
    tenants_may = SelectField(
        _("Tenants may"),
        choices=[
            SelectChoice("change", _("change to it by themselves")),
            SelectChoice("ask", _("ask for it")),
            SelectChoice("see", _("only see it")),
        ],
        validate_choice=True,
    )
    blocked_prefixes = PrefixesField(_("Blocked destinations"))
    loss_reason = StringField(
        _("Why it is sold all the same"),
        description=_("Kept in the revision. Fully used, it costs more than its price."),
    )

    def validate_code(self, field: StringField) -> None:
        """Keep the code out of the way of our own addresses."""
        if field.data in RESERVED_CODES:
            raise ValidationError(gettext("This word is taken by the portal itself; use another one."))


class LimitForm(Form):
    """One resource's limit. Empty and not ticked: the package does not mention it."""

    included = QuantityField(_("Included"), unlimited=True)
    no_limit = BooleanField(_("no limit"))
    at_limit = SelectField(
        _("At the limit"),
        choices=[
            SelectChoice("block", _("stop")),
            SelectChoice("charge", _("charge")),
            SelectChoice("notify", _("continue, tell both")),
        ],
        default="block",
        validate_choice=True,
    )
    cost = MoneyField(_("Costs you, each"))
    price = MoneyField(_("Beyond, each"))
    rollover = SelectField(_("What is left"), coerce=int, default=0, validate_choice=True)
    cap = QuantityField(_("Carried over at most"), unlimited=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = {*ROLLOVER_PERIODS, (kwargs.get("data") or {}).get("rollover", 0)}  # a machine may have set another
        self.rollover.choices = [(periods, rollover_words(periods)) for periods in sorted(chosen)]

    def validate_price(self, field: MoneyField) -> None:
        """What is charged needs a price."""
        charged = self.at_limit.data == "charge" and self.included.data is not None and not self.no_limit.data
        if charged and field.data is None and not field.errors:
            raise ValidationError(gettext("Say what each one costs beyond the limit."))


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A resource, its part of the form, and what the revision in force says of it."""

    resource: Resource
    form: LimitForm
    before: LimitSpec | None
    pristine: LimitForm  # the same fields with what is in force

    @property
    def changed(self) -> bool:
        """True when the row no longer says what is in force."""
        return self.spec != self.before

    @property
    def spec(self) -> LimitSpec | None:
        """What the row says; None for a resource that is left out."""
        form, code = self.form, self.resource.code
        rule = form.at_limit.data if self.resource.kind == "metered" else "block"
        cost = form.cost.data or 0
        if form.no_limit.data:
            return LimitSpec(code, None, rule or "block", unit_cost_micros=cost)
        if form.included.data is None:
            return None
        periods = form.rollover.data or 0 if self.resource.kind == "metered" else 0
        cap = form.cap.data if periods else None
        return LimitSpec(code, form.included.data, rule or "block", form.price.data or 0, periods, cap, cost)


class Editor:
    """The whole form: terms in `form`, limits in `rows`; `listed` are the rows worth showing at first."""

    def __init__(
        self, resources: Sequence[Resource], spec: PackageSpec, *, number: int = 0, status: str = "", common: set[str]
    ) -> None:
        """`status` is empty for a package that does not exist yet; `common` are codes that other packages name."""
        self.before = spec
        currency = request.form.get("currency", spec.currency) if status in ("", "draft") else spec.currency
        self.form = _terms(spec, number, status, currency)
        limits = {limit.resource: limit for limit in spec.limits}
        self.rows = [_row(resource, limits.get(resource.code), currency) for resource in resources]
        self.currency = currency
        self._common = common or {resource.code for resource in resources}

    @property
    def listed(self) -> list[LimitRow]:
        """What this package or another one names."""
        return [row for row in self.rows if self._is_listed(row)]

    @property
    def others(self) -> list[LimitRow]:
        """The rest, folded away."""
        return [row for row in self.rows if not self._is_listed(row)]

    @property
    def problems(self) -> list[LimitForm]:
        """The rows' forms that hold an error."""
        return [row.form for row in self.rows if row.form.errors]

    def validate(self) -> bool:
        """Check the terms and every row; all errors are shown at once."""
        return all([self.form.validate(), *(row.form.validate() for row in self.rows)])

    def spec(self) -> PackageSpec:
        """What the form says, valid or not yet checked by the catalogue."""
        form = self.form
        return PackageSpec(
            name=form.name.data or "",
            currency=form.currency.data if "currency" in form else self.before.currency,
            interval=form.interval.data if "interval" in form else self.before.interval,
            price_micros=form.price.data or 0,
            cost_micros=form.cost.data or 0,
            setup_fee_micros=form.setup_fee.data or 0,
            public=form.public.data,
            tenants_may=form.tenants_may.data or "change",
            blocked_prefixes=form.blocked_prefixes.data or "",
            loss_reason=form.loss_reason.data or "",
            limits=tuple(limit for row in self.rows if (limit := row.spec) is not None),
        )

    def _is_listed(self, row: LimitRow) -> bool:
        return bool(row.before or row.spec or row.form.errors or row.resource.code in self._common)


def _terms(spec: PackageSpec, number: int, status: str, currency: str) -> PackageForm:
    form = PackageForm(
        meta={"currency": currency},
        data={
            "base": str(number),
            "name": spec.name,
            "price": spec.price_micros,
            "cost": spec.cost_micros,
            "setup_fee": spec.setup_fee_micros,
            "interval": spec.interval,
            "currency": spec.currency,
            "public": spec.public,
            "tenants_may": spec.tenants_may,
            "blocked_prefixes": spec.blocked_prefixes,
            "loss_reason": spec.loss_reason,
        },
    )
    if status:
        del form.code
    if status not in ("", "draft"):  # amounts and periods of the tenants on it are counted in these
        del form.interval, form.currency
    return form


def _row(resource: Resource, before: LimitSpec | None, currency: str) -> LimitRow:
    data: dict[str, Any] = {}
    if before is not None:
        price = before.overage_price_micros if before.at_limit == "charge" else None
        no_limit = before.included is None
        data = {"included": before.included, "no_limit": no_limit, "at_limit": before.at_limit, "price": price}
        data |= {"rollover": before.rollover_periods, "cap": before.rollover_cap}
        data |= {"cost": before.unit_cost_micros or None}
    meta = {"csrf": False, "factor": resource.factor, "currency": currency}
    options: dict[str, Any] = {"prefix": f"limit-{resource.code}-", "meta": meta, "data": data}
    return LimitRow(resource, LimitForm(**options), before, LimitForm(None, **options))
