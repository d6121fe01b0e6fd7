"""What speaks for another package, in words with the arithmetic, and the page of what each figure counts."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import url_for

from app.core.clock import utc_now
from app.domain.catalog.models import Resource
from app.domain.insight.ready import Candidate
from app.domain.insight.signs import Beyond, Full, Refused, RunsOut, Sign, Spare
from app.web.kit.formats import localdate, money, number, quantity, with_unit
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.meter_text import at_pace, runs_out


@dataclass(frozen=True, slots=True)
class Why:
    """A sentence, and where what it counts is listed (empty: nowhere)."""

    words: str
    url: str = ""


def why(candidate: Candidate, resources: Mapping[str, Resource]) -> list[Why]:
    """One sentence for each sign."""
    return [_why(sign, candidate, resources) for sign in candidate.advice.signs]


def _why(sign: Sign, candidate: Candidate, resources: Mapping[str, Resource]) -> Why:
    if isinstance(sign, Beyond):
        return _beyond(sign, candidate)
    resource = resources[sign.resource]
    usage = url_for("provider.tenant_usage", slug=candidate.slug, resource=sign.resource)
    if isinstance(sign, Full):
        return Why(_full(sign, resource), usage)
    if isinstance(sign, Refused):
        return Why(_refused(sign, resource), url_for("provider.tenant_refused", slug=candidate.slug))
    if isinstance(sign, RunsOut):
        words = runs_out(sign.forecast, candidate.timezone, utc_now())
        return Why(f"{resource.name}: {words}, {at_pace(sign.forecast, resource)}", usage)
    held = url_for("provider.tenant_line", slug=candidate.slug, code=sign.resource)
    links = {"metered": usage, "allocated": held}
    return Why(_spare(sign, resource), links.get(resource.kind, ""))


def _full(sign: Full, resource: Resource) -> str:
    shares = [
        gettext(
            "%(used)s of %(total)s from %(day)s",
            used=quantity(share.used, resource),
            total=quantity(share.total, resource),
            day=localdate(share.first_on),
        )
        for share in sign.shares
    ]
    return gettext(
        "%(resource)s: over 80 %% in %(full)s of three periods: %(shares)s",
        resource=resource.name,
        full=number(len(shares)),
        shares="; ".join(shares),
    )


def _beyond(sign: Beyond, candidate: Candidate) -> Why:
    currency, fit = candidate.own.currency, candidate.advice.fit
    words = gettext(
        "%(charged)s beyond what is included, in the period from %(day)s; %(package)s costs %(gap)s more",
        charged=money(sign.charged_micros, currency),
        day=localdate(sign.first_on),
        package=fit.name if fit else "",
        gap=money(sign.gap_micros, currency),
    )
    if sign.then_micros:
        words += " " + gettext("and %(then)s beyond its own limits", then=money(sign.then_micros, currency))
    return Why(words, url_for("provider.tenant_usage", slug=candidate.slug, period=sign.first_on.isoformat()))


def _refused(sign: Refused, resource: Resource) -> str:
    attempts = ngettext(
        "%(shown)s attempt refused in 30 days",
        "%(shown)s attempts refused in 30 days",
        sign.attempts,
        shown=number(sign.attempts),
    )
    enough = gettext("%(enough)s would have been enough", enough=with_unit(sign.enough, resource))
    return f"{resource.name}: {attempts}; {enough}"


def _spare(sign: Spare, resource: Resource) -> str:
    included = {
        "resource": resource.name,
        "then": with_unit(sign.included, resource),
        "now": quantity(sign.now, resource) if sign.now is not None else gettext("no limit"),
        "most": quantity(sign.most, resource),
    }
    if resource.kind == "metered":
        return gettext("%(resource)s: %(then)s instead of %(now)s; at most %(most)s in a period", **included)
    if resource.kind == "allocated":
        return gettext("%(resource)s: %(then)s instead of %(now)s; %(most)s held", **included)
    return gettext("%(resource)s: %(then)s instead of %(now)s; none refused in 30 days", **included)
