"""What is drawn of a tenant's meters and records, kept until something differs.

A drawing is a function of the tenant's fingerprint and the minute: every record, reversal and hold moves a meter, and
a moved meter changes the fingerprint. So the database is asked each time whether anything differs, and the drawing
serves everyone who looks at the tenant, and is shown numbers and times alike, until something does. Who may look is
asked before, by the guards.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from flask import Flask, current_app

from app.core.clock import utc_now
from app.domain.metering import meters
from app.web.kit.display import display

T = TypeVar("T")
MAX_DRAWN = 5_000  # drawings that a worker keeps, 3 to 10 kB each


def init_app(app: Flask) -> None:
    """Give the app its store; empty again at each start."""
    app.extensions["drawn"] = {}


def once(tenant_id: int, name: str, draw: Callable[[datetime], T]) -> T:
    """What `draw` makes of the tenant as of a moment, or what it made before if nothing differs since.

    It must be the same for all who may see it: no names, tokens or messages of the visitor.
    """
    drawn: dict[tuple[Any, ...], tuple[Any, T]] = current_app.extensions["drawn"]
    now = utc_now()
    # Asked before it is drawn: what changes meanwhile is drawn already, and once more at the next look.
    state = (meters.fingerprints([tenant_id], now=now).get(tenant_id), now.replace(second=0, microsecond=0))
    key = (tenant_id, name, display())
    known = drawn.get(key)
    if known and known[0] == state:
        return known[1]
    result = draw(now)
    if len(drawn) >= MAX_DRAWN:
        drawn.clear()
    drawn[key] = (state, result)
    return result
