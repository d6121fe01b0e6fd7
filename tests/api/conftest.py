"""A tenant that can be reported on, and machines that report."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.catalog.specs import LimitSpec

CAPTURED = Path(__file__).parent.parent / "data" / "captured"
LIMITS = (LimitSpec("voice_minutes", 60_000, "charge", 20_000), LimitSpec("fax_pages", 100))


@pytest.fixture
def source(make):
    return make.source("pbx1")


@pytest.fixture
def machine(client, source):
    """`machine(method, path, …)`: a request with the source's key."""

    def call(method, path, **kwargs):
        headers = {"Authorization": f"Bearer {source.key}", **kwargs.pop("headers", {})}
        return client.open(path, method=method, headers=headers, **kwargs)

    return call


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", domain="acme.example", account_code="acme-1", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", LIMITS), started_at=now - timedelta(days=21))
    return tenant


@pytest.fixture
def used(machine, acme):
    """`used(resource)`: what the meter of Acme says."""

    def read(resource="voice_minutes"):
        found = machine("GET", "/api/v1/tenants/acme/meters").json["meters"]
        return next(meter["used"] for meter in found if meter["resource"] == resource)

    return read


def freeswitch_posts():
    """The CDR posts of a real FreeSWITCH, JSON of every leg and XML of the A-legs: (path, headers, body)."""
    lines = (CAPTURED / "freeswitch1_11_posts_encoded.jsonl").read_text().splitlines()
    posts = [json.loads(line) for line in lines]
    return [(post["p"], post["h"], post["b"]) for post in posts if "cdr" in post["p"]]
