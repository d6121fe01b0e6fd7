"""What the description shows of each operation: a request and its answer. The tests send and compare them in turn."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One call: what comes back, what stands in the address, what is sent."""

    answer: Any
    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None  # JSON, or text as the switch sends it


_CONTENT = {
    "name": "Gold",
    "currency": "EUR",
    "interval": "month",
    "price": "49.00",
    "cost": "20.00",
    "setup_fee": "0.00",
    "public": True,
    "tenants_may": "change",
    "blocked_prefixes": ["0900", "1900"],
    "limits": [
        {"resource": "fax_pages", "included": 100, "at_limit": "block", "overage_price": "0.00"},
        {"resource": "voice_minutes", "included": 60_000, "at_limit": "charge", "overage_price": "0.02"},
    ],
}
_PACKAGE = {"code": "gold", "status": "published", "revision": 1, **_CONTENT}
_PROFILE = {
    "name": "Acme",
    "domain": "acme.example",
    "account_code": "acme-7",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
}
_TENANT: dict[str, Any] = {"slug": "acme", **_PROFILE, "country": "", "contact_name": "", "contact_email": ""}
_TENANT |= {"locale": "", "units": "", "blocked_prefixes": [], "status": "active"}
_START = "2026-11-01T00:00:00+01:00"
_PERIOD = {"start": _START, "end": "2026-12-01T00:00:00+01:00"}
_SUBSCRIPTION = {"tenant": "acme", "package": "gold", "revision": 1, "started_at": _START, "period": _PERIOD}
_SUBSCRIPTION |= {"pending": None}
_EVENT = {
    "id": "evt-1",
    "tenant": "acme",
    "resource": "fax_pages",
    "quantity": 3,
    "occurred_at": "2026-11-22T20:10:41Z",
    "attributes": {"from": "4930123", "to": "4420123456"},
}
_METER = {"kind": "metered", "carried_in": 0, "on_hold": 0, "overage": 0, "state": "fine"}
_LEG = (
    '{"core-uuid":"9c4c1d6e-6a0c-4d3e-9f5a-0f6f3c1f7c2a","variables":{"uuid":"2b3f9f0e-27a4-4b2c-8f57-6d1c5f0c2a11",'
    '"billing_tenant":"acme","call_direction":"outbound","start_epoch":"1795378241","answer_epoch":"1795378243",'
    '"end_epoch":"1795378247","billsec":"5","billmsec":"4200","caller_id_number":"101",'
    '"destination_number":"442079460958","hangup_cause":"NORMAL_CLEARING"}}'
)
_ROW = (
    '"acme","101","442079460958","office","""Reception"" <101>","PJSIP/101-00000001","PJSIP/trunk-00000002","Dial",'
    '"PJSIP/442079460958@trunk,30","2026-11-22 20:12:01","2026-11-22 20:12:03","2026-11-22 20:12:06",5,3,"ANSWERED",'
    '"DOCUMENTATION","1795378321.1","","","1795378321.1",1\n'
)
_RECORD = {
    "id": "evt-1",
    "source": "pbx1",
    "resource": "fax_pages",
    "occurred_at": "2026-11-22T21:10:41+01:00",
    "received_at": "2026-11-22T22:00:00+01:00",
    "measured": 3,
    "quantity": 3,
    "from_allowance": 3,
    "from_carried": 0,
    "beyond": 0,
    "beyond_as": None,
    "beyond_price": None,
    "currency": "EUR",
    "late": False,
    "direction": "",
    "caller": "4930123",
    "callee": "4420123456",
    "call_id": "",
    "attributes": {},
    "reverses": None,
    "reversal_reason": None,
    "reversed": False,
}
_ALLOCATION = {
    "id": "42949672961",
    "resource": "dids",
    "name": "+4930901820",
    "note": "Main number",
    "created_at": "2026-11-22T22:00:00+01:00",
}
_INVOICE = {
    "number": "2026-00001",
    "kind": "invoice",
    "status": "final",
    "period": ["2026-11-01", "2026-12-01"],
    "issued_on": "2026-11-22",
    "due_on": "2026-12-06",
    "currency": "EUR",
    "net": "49.00",
    "tax": "0.00",
    "total": "49.00",
    "open": "49.00",
    "credits": None,
}
_INVOICE_LINE = {
    "kind": "recurring",
    "name": "Gold",
    "amount": "49.00",
    "quantity": 1,
    "factor": 1,
    "price": "49.00",
    "tax_code": "none",
    "resource": None,
    "usage_period": None,
    "late": False,
    "first_on": "2026-11-01",
    "end_on": "2026-12-01",
}
_PRINTED = {
    "provider": {
        "name": "Northline Telecom",
        "address": [],
        "email": "",
        "tax_id": "",
        "iban": "",
        "bic": "",
        "country": "",
    },
    "customer": {
        "name": "Acme",
        "address": [],
        "country": "",
        "tax_id": "",
        "email": "",
        "timezone": "Europe/Berlin",
        "locale": "",
    },
    "taxes": [
        {
            "code": "none",
            "name": "No tax",
            "ppm": 0,
            "inclusive": False,
            "category": "O",
            "note": "",
            "net_micros": 49_000_000,
            "tax_micros": 0,
        }
    ],
}
_QUOTE = {
    "id": "42949672962",
    "valid_until": "2026-11-22T22:15:00+01:00",
    "package": "platinum",
    "before": "gold",
    "when": "now",
    "effective_on": "2026-11-22",
    "currency": "EUR",
    "lines": [
        {"kind": "credit", "name": "Gold", "amount": "-14.70", "days": 9, "of_days": 30, "included": False},
        {"kind": "charge", "name": "Platinum", "amount": "29.70", "days": 9, "of_days": 30, "included": False},
    ],
    "due_now": "0.00",
    "next_invoice": {"on": "2026-12-03", "amount": "114.00"},
    "limits": [
        {"resource": "voice_minutes", "before": 60_000, "after": 120_000, "used": 7, "over": 0},
        {"resource": "fax_pages", "before": 100, "after": 200, "used": 3, "over": 0},
    ],
    "accepted_at": None,
}

EXAMPLES: dict[str, Example] = {  # by operationId, in the order of a first day
    "put_package": Example(_PACKAGE, {"code": "gold"}, body=_CONTENT),
    "get_package": Example(_PACKAGE, {"code": "gold"}),
    "put_tenant": Example(_TENANT, {"slug": "acme"}, body=_PROFILE),
    "get_tenant": Example(_TENANT, {"ref": "acme.example"}),
    "put_subscription": Example(
        _SUBSCRIPTION, {"ref": "acme"}, body={"package": "gold", "when": "now", "started_at": _START}
    ),
    "get_subscription": Example(_SUBSCRIPTION, {"ref": "acme"}),
    "report_usage": Example(
        {
            "accepted": 2,
            "duplicates": 0,
            "conflicts": 0,
            "quarantined": 1,
            "results": [
                {"id": "evt-1", "status": "recorded"},
                {"id": "evt-2", "status": "quarantined", "code": "unknown_tenant"},
            ],
        },
        body={"events": [_EVENT, {**_EVENT, "id": "evt-2", "tenant": "nobody"}]},
    ),
    "report_freeswitch": Example(
        {"recorded": 1, "duplicates": 0, "ignored": 0, "quarantined": 0},
        query={"uuid": "a_2b3f9f0e-27a4-4b2c-8f57-6d1c5f0c2a11"},
        body=_LEG,
    ),
    "report_asterisk": Example(
        {"recorded": 1, "duplicates": 0, "ignored": 0, "quarantined": 0, "reasons": {}},
        query={"verbose": "1"},
        body=_ROW,
    ),
    "authorize": Example(
        {
            "allowed": True,
            "seconds": 1800,
            "hold": "h_1c8_3a7",
            "expires_at": "2026-11-22T21:32:00Z",
            "remaining": 58_193,
        },
        body={"tenant": "acme", "call_id": "a1b2", "caller": "101", "callee": "442079460958", "seconds": 1800},
    ),
    "renew": Example(
        {
            "allowed": True,
            "seconds": 1800,
            "hold": "h_1c8_3a7",
            "expires_at": "2026-11-22T21:32:00Z",
            "remaining": 58_133,
        },
        body={"hold": "h_1c8_3a7", "seconds_used": 60},
    ),
    "end_call": Example({"ended": True, "hold": "h_1c8_3a7"}, body={"hold": "h_1c8_3a7", "seconds": 7}),
    "get_meters": Example(
        {
            "tenant": "acme",
            "package": "gold",
            "period": _PERIOD,
            "meters": [
                _METER
                | {"resource": "voice_minutes", "included": 60_000, "used": 7, "on_hold": 7, "remaining": 59_986}
                | {"at_limit": "charge"},  # what the call used stays on hold until its CDR comes
                _METER | {"resource": "fax_pages", "included": 100, "used": 3, "remaining": 97, "at_limit": "block"},
            ],
        },
        {"ref": "acme"},
    ),
    "list_usage": Example(
        {"data": [_RECORD], "next": None}, {"ref": "acme"}, {"resource": "fax_pages", "since": _START}
    ),
    "add_allocation": Example(
        _ALLOCATION, {"ref": "acme"}, body={"resource": "dids", "name": "+49 30 901820", "note": "Main number"}
    ),
    "list_allocations": Example({"data": [_ALLOCATION], "next": None}, {"ref": "acme"}, {"resource": "dids"}),
    "release_allocation": Example(None, {"ref": "acme", "allocation_id": "42949672961"}),
    "list_invoices": Example({"data": [_INVOICE], "next": None}, {"ref": "acme"}),
    "get_invoice": Example(
        {**_INVOICE, "lines": [_INVOICE_LINE], "printed": _PRINTED}, {"ref": "acme", "number": "2026-00001"}
    ),
    "make_quote": Example(_QUOTE, {"ref": "acme"}, body={"package": "platinum", "when": "now"}),
    "accept_quote": Example(
        {**_QUOTE, "accepted_at": "2026-11-22T22:01:00+01:00"}, {"ref": "acme", "quote_id": "42949672962"}
    ),
    "cancel_change": Example({**_SUBSCRIPTION, "package": "platinum"}, {"ref": "acme"}),
}
