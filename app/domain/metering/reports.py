"""What a source reports, and what it is answered: see ingest.py."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.core.usage import Unreadable, UsageEvent

_encode = msgspec.json.Encoder(order="sorted").encode


class Report(NamedTuple):
    """What one source said about one act: read (or not), and its raw form in case it must be kept aside."""

    outcome: UsageEvent | Unreadable
    body: str | bytes | Callable[[], bytes]  # or what gives it: few reports are ever kept
    format: str = "event"  # event, freeswitch, asterisk
    content_type: str = ""

    @property
    def text(self) -> str:
        """The body as every database can keep it: what is no text, and NUL, is replaced."""
        body = self.body() if callable(self.body) else self.body
        text = body if isinstance(body, str) else body.decode(errors="replace")
        return text.replace("\x00", "\ufffd")


class Result(NamedTuple):
    """What became of a report: `recorded`, `duplicate`, `conflict` or `quarantined`, the last two with a code."""

    status: str
    code: str = ""
    detail: str = ""  # for a person


def content_hash(tenant_id: int, event: UsageEvent, occurred_at: str) -> str:
    """32 hex digits over what the event means for this tenant; its bytes do not matter."""
    meaning = (
        tenant_id,
        event.resource,
        event.quantity,
        event.metered,
        occurred_at,
        event.direction,
        event.caller,
        event.callee,
        event.attributes,
    )
    return hashlib.blake2b(_encode(meaning), digest_size=16).hexdigest()
