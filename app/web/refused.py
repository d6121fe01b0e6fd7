"""What was refused, as a page: of one tenant on either side, or of all on the provider's."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, request

from app.core.clock import utc_now
from app.db import db
from app.domain.changes.package_fit import Need, packages_allowing
from app.domain.metering import refusals
from app.domain.metering.refusals import RefusalQuery, RefusalRow
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from app.web.kit.i18n import gettext
from app.web.kit.paging import newest_first_key
from app.web.kit.render import render

DAY = timedelta(days=1)
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """As they were typed: a reason, `period` (the tenant's running one) or `day` (the last 24 hours), a tenant."""

    reason: str
    when: str
    text: str

    @classmethod
    def given(cls) -> "Filters":
        """Those of the request."""
        return cls(*(request.args.get(name, "").replace("\0", "")[:MAX_TEXT].strip() for name in cls.__slots__))

    def __bool__(self) -> bool:
        return bool(self.reason or self.when or self.text)


def refused_page(template: str, tenant: Tenant | None) -> Response:
    """The list, newest first; a filter swaps only its rows. Without a tenant those of all."""
    session, now, filters = db.session(), utc_now(), Filters.given()
    query = RefusalQuery(
        tenant_id=tenant.id if tenant else None,
        tenant_text="" if tenant else filters.text,
        reason=filters.reason,
        since=_since(filters.when, tenant, now),
    )
    page = refusals.find(session, query, after=newest_first_key("after"), before=newest_first_key("before"))
    needs = {row.refusal.id: need for row in page.rows if (need := _need(row))}
    fits = packages_allowing(session, set(needs.values()))
    return render(
        template,
        block="refused_rows",
        tenant=tenant,
        page=page,
        fits={refusal_id: fits.get(need) for refusal_id, need in needs.items()},
        filters=filters,
        reasons=reason_choices(),
    )


def count_in_period(tenant: Tenant, since: datetime) -> int:
    """How much was refused since a period of the tenant began."""
    return refusals.count(db.session(), RefusalQuery(tenant_id=tenant.id, since=since))


def reason_choices() -> list[tuple[str, str]]:
    """The reasons as a filter calls them."""
    words = {
        "quota_exhausted": gettext("Used up"),
        "balance_exhausted": gettext("Balance spent"),
        "concurrency_reached": gettext("Too many calls at once"),
        "limit_reached": gettext("No room for more"),
        "destination_blocked": gettext("Blocked destination"),
        "tenant_suspended": gettext("Suspended"),
        "no_subscription": gettext("Without a package"),
    }
    return [(reason, words[reason]) for reason in refusals.REASONS]


def _since(when: str, tenant: Tenant | None, now: datetime) -> datetime | None:
    if when == "day":
        return now - DAY
    subscription = subscriptions.live(db.session(), tenant.id) if tenant and when == "period" else None
    return subscriptions.period_of(subscription, now).start if subscription else None


def _need(row: RefusalRow) -> Need | None:
    """What a package would have had to include, where it was a limit that refused."""
    return None if row.enough is None else Need(row.tenant.id, row.refusal.resource_code, row.enough)
