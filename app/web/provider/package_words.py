"""Differences between two revisions, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.catalog.differences import Difference
from app.domain.catalog.models import Resource
from app.domain.catalog.specs import LimitSpec
from app.web.kit.formats import money, quantity
from app.web.kit.i18n import gettext, ngettext


@dataclass(frozen=True, slots=True)
class Change:
    """`Voice minutes`, `1,000`, `1,200`: what, from, to."""

    what: str
    before: str
    after: str


def change_words(found: list[Difference], resources: Mapping[str, Resource], currency: str) -> list[Change]:
    """A line for each difference; money in `currency`, limits in their resource's display unit and in the
    order of `resources`, terms after them."""
    place = {code: index for index, code in enumerate(resources)}
    ordered = sorted(found, key=lambda each: place.get(each.resource, len(place)))
    return [
        _of_limit(each, resources[each.resource], currency) if each.resource else _of_terms(each, currency)
        for each in ordered
    ]


def rule_words(at_limit: str) -> str:
    """What happens at the limit."""
    words = {
        "block": gettext("stops at the limit"),
        "charge": gettext("charges beyond it"),
        "notify": gettext("continues, both sides are told"),
    }
    return words.get(at_limit, at_limit)


def rollover_words(periods: int) -> str:
    """What becomes of what is left at a period's end."""
    if not periods:
        return gettext("lapses")
    return ngettext("lives on for %(num)s period", "lives on for %(num)s periods", periods)


def _cap(value: object, resource: Resource) -> str:
    return gettext("all of it") if value is None else quantity(_int(value), resource)


def _of_limit(each: Difference, resource: Resource, currency: str) -> Change:
    if each.what == "limit":
        return Change(resource.name, _whole(each.before, resource), _whole(each.after, resource))
    if each.what == "included":
        return Change(resource.name, _included(each.before, resource), _included(each.after, resource))
    if each.what == "at_limit":
        name = gettext("%(resource)s, at the limit", resource=resource.name)
        return Change(name, rule_words(str(each.before)), rule_words(str(each.after)))
    if each.what.startswith("rollover_"):
        return _of_rollover(each, resource)
    names = {
        "overage_price_micros": gettext("%(resource)s beyond, each %(unit)s"),
        "unit_cost_micros": gettext("%(resource)s, your cost of each %(unit)s"),
    }
    name = names[each.what] % {"resource": resource.name, "unit": resource.unit_one}
    return Change(name, money(_int(each.before), currency), money(_int(each.after), currency))


def _of_rollover(each: Difference, resource: Resource) -> Change:
    if each.what == "rollover_periods":
        name = gettext("%(resource)s, what is left", resource=resource.name)
        return Change(name, rollover_words(_int(each.before)), rollover_words(_int(each.after)))
    name = gettext("%(resource)s, carried over at most", resource=resource.name)
    return Change(name, _cap(each.before, resource), _cap(each.after, resource))


def _of_terms(each: Difference, currency: str) -> Change:
    names = {
        "name": gettext("Name"),
        "price_micros": gettext("Price"),
        "cost_micros": gettext("Your cost"),
        "setup_fee_micros": gettext("Setup fee"),
        "interval": gettext("Billed"),
        "currency": gettext("Currency"),
        "public": gettext("Shown to tenants"),
        "tenants_may": gettext("Tenants may"),
        "blocked_prefixes": gettext("Blocked destinations"),
        "loss_reason": gettext("Why it may cost more than it brings"),
    }
    if each.what.endswith("_micros"):
        return Change(names[each.what], money(_int(each.before), currency), money(_int(each.after), currency))
    if each.what == "blocked_prefixes":
        return Change(names[each.what], _listed(each.before), _listed(each.after))
    return Change(names[each.what], _term(each.before), _term(each.after))


def _listed(value: object) -> str:
    return ", ".join(str(value).split()) or gettext("none")


def _term(value: object) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    words = {
        "month": gettext("every month"),
        "year": gettext("every year"),
        "change": gettext("change to it by themselves"),
        "ask": gettext("ask for it"),
        "see": gettext("see it"),
    }
    return words.get(str(value), str(value)) or "–"


def _whole(value: object, resource: Resource) -> str:
    return _included(value.included, resource) if isinstance(value, LimitSpec) else gettext("not mentioned")


def _included(value: object, resource: Resource) -> str:
    return gettext("no limit") if value is None else quantity(_int(value), resource)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
