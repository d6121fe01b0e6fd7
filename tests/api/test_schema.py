"""Whatever fits the description of the machine interface, and much that does not, is answered as it says."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings as hypothesis_settings, strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.blueprint import operations
from app.api.examples import EXAMPLES
from app.api.openapi import description
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.tenants import service as tenants
from tests.faults.reporters import SOAK_MINUTES, sized

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES_OF_EACH = {"sqlite": (8, 10), "postgresql": (4, 4)}  # in `make test`, and more for each minute of a soak
KNOWN = {"ref": "acme", "slug": "acme", "code": "gold"}
# What makes the names in the addresses mean something, and the answers more than 404.
BEFORE = ("put_package", "put_tenant", "put_subscription", "report_usage", "add_allocation")


@pytest.fixture
def filled(machine):
    """A portal about which the examples of the description were told."""
    for name in BEFORE:
        operation = next(each for each in operations if each.endpoint == name)
        example, path = EXAMPLES[name], "/api/v1" + operation.path
        for argument, value in example.path.items():
            path = path.replace(f"<{argument}>", value)
        assert machine(operation.method, path, json=example.body).status_code in (200, 201)


@pytest.fixture
def keys(make, source, now, filled):
    """A source's that may do all, one that may read, a tenant's own, one that opens nothing."""
    with unit_of_work() as unit:
        of_acme = accounts.issue_tenant_key(unit, tenants.by_slug(unit, "acme"), label="books", actor="test", now=now)
    reader = make.source("reader", scopes=("read",))
    return {"all": source.key, "read": reader.key, "tenant": of_acme, "nobody": "rp_nobody_nothing"}


@pytest.mark.parametrize("who", ["all", "read", "tenant", "nobody"])
def test_every_answer_is_one_that_the_description_names(app, keys, who):
    schema = schemathesis.openapi.from_dict(description())
    schema.app = app
    headers = {"Authorization": f"Bearer {keys[who]}"}
    limit = sized(*EXAMPLES_OF_EACH[db.engine.dialect.name])
    for found in schema.get_all_operations():
        _try(found.ok(), headers, limit if who == "all" else max(2, limit // 4))


def _try(operation: Any, headers: dict[str, str], limit: int) -> None:
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    spoilt = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @hypothesis_settings(
        max_examples=limit, deadline=None, database=None, derandomize=not SOAK_MINUTES,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=fitting | spoilt, known=st.booleans())
    def is_described(case: Any, known: bool) -> None:
        if known:
            for name in KNOWN.keys() & case.path_parameters.keys():
                case.path_parameters[name] = KNOWN[name]
        case.call_and_validate(headers=headers, checks=CHECKS)

    is_described()
