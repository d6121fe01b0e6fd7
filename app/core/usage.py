"""What a source reported, in one shape whatever it spoke: the parsers in `app/pbx` make it, metering stores it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How one source's reports are read. Kept as JSON on the source."""

    metered_directions: tuple[str, ...] = ("outbound",)
    trunk_patterns: tuple[str, ...] = ()  # fnmatch patterns of an Asterisk dstchannel; none: all but Local/
    time_zone: str = "UTC"  # of times without an offset (Asterisk CSV)
    fail_open: bool = False


@dataclass(slots=True)  # not frozen, which would triple what making one costs; nobody changes it
class UsageEvent:
    """One act that consumed something. Equal events mean the same thing, whatever bytes carried them."""

    external_id: str  # unique per source
    tenant: str  # slug, PBX domain or account code, as sent
    resource: str
    quantity: int  # measured, in the resource's base unit, before the billing step
    occurred_at: datetime  # aware, in UTC; the start of a call
    metered: bool = True  # False: kept in the history with a billed quantity of 0
    direction: str = ""  # outbound, inbound, internal, or empty where it has none
    caller: str = ""
    callee: str = ""
    call_id: str = ""  # ties the records of one call together
    hold: str = ""  # the hold it settles, if the sender named one
    attributes: dict[str, Any] = field(default_factory=dict)  # what else the sender said; shown, never counted


@dataclass(frozen=True, slots=True)
class Ignored:
    """A report that is understood and is not usage: `reason` is a stable code.

    Where it says that a call is over without having talked, `call_id` or `hold` names what it frees.
    """

    reason: str  # detail_leg, unanswered, not_billable, ...
    call_id: str = ""
    hold: str = ""


class Unreadable(Exception):
    """A report that cannot be understood: it goes to quarantine under `code`, with `detail` for a person."""

    def __init__(self, code: str, detail: str, external_id: str = "", tenant: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.external_id, self.tenant = code, detail, external_id, tenant
