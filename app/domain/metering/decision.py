"""What a call asks, and what it is answered: see calls.py."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from app.domain.metering.call_store import LimitedMeter, Standing
from app.domain.metering.holds import HoldName

MESSAGES = {
    "unknown_tenant": "No tenant is known by this name.",
    "tenant_suspended": "The tenant is suspended.",
    "no_subscription": "The tenant has no package.",
    "destination_blocked": "Numbers that begin like this one may not be called.",
    "concurrency_reached": "All calls that the package allows at once are in progress.",
    "quota_exhausted": "What the package includes is used up or held by calls in progress.",
    "balance_exhausted": "What was paid in advance is spent or held by calls in progress.",
    "hold_ended": "The hold has ended: its call is over, or nobody renewed it in time.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that asks to go on. `tenant` is a slug, PBX domain or account code; `kind` voice or fax."""

    tenant: str
    call_id: str
    kind: str = "voice"
    direction: str = "outbound"
    caller: str = ""
    callee: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds asked for, seconds that a hold outlives its grant, and the directions that the source meters."""

    seconds: int
    grace: int
    metered_directions: tuple[str, ...]


class MetLimit(NamedTuple):
    """The limit that refused a call, how things stood, and the least that was wanted. Base units of the resource."""

    resource: str
    included: int | None
    carried_in: int
    used: int
    on_hold: int
    wanted: int
    period_on: date

    @classmethod
    def of(cls, meter: LimitedMeter, standing: Standing, wanted: int) -> "MetLimit":
        """What `meter` has, of which `wanted` was not to be had."""
        used, on_hold, carried_in = standing
        return cls(meter.resource_code, meter.included, carried_in, used, on_hold, wanted, meter.period_on)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `seconds` count from now; `remaining` is in base units after the grant, None is unlimited."""

    allowed: bool
    seconds: int = 0
    hold: HoldName | None = None
    expires_at: datetime | None = None
    remaining: int | None = None
    reason: str = ""
    limit: MetLimit | None = None

    @property
    def message(self) -> str:
        """The reason as a sentence."""
        return MESSAGES.get(self.reason, "")
