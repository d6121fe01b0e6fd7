"""One leg as mod_json_cdr or mod_xml_cdr reports it, turned into usage. Rules: README.md, "FreeSWITCH"."""

import re
from datetime import UTC, datetime, timedelta

from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx.freeswitch_body import Leg, read_leg
from app.pbx.text import MAX_TEXT, clean, is_number, quantity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = {"uepoch": 1, "epoch": 1_000_000}
_DIRECTIONS = {"outbound": "outbound", "inbound": "inbound", "internal": "internal", "local": "internal"}
# What opens again ends a try: else a name of a thousand braces is searched to its end a thousand times.
_DIAL_VARIABLES = re.compile(r"\{[^{}]*\}|<[^<>]*>|\[[^\[\]]*\]")


def parse_cdr(body: bytes, content_type: str, uuid_query: str, settings: SourceSettings) -> UsageEvent | Ignored:
    """What the leg in `body` consumed: seconds of voice or pages of fax.

    The JSON and the XML of one leg give equal events. `content_type` is not believed: FreeSWITCH
    posts raw JSON as a form. `uuid_query` is the `?uuid=` of the request or of the file name, with or
    without its `a_`, for a body that names none. Raises Unreadable with the code `unreadable_body`,
    `unreadable_time`, `unreadable_quantity` or `unknown_tenant`, and nothing else.
    """
    uuid = clean(uuid_query).removeprefix("a_")
    tenant = ""
    try:
        leg = read_leg(body)
        uuid, tenant = leg.variables.get("uuid", uuid), _tenant(leg)
        if not uuid or len(uuid) > MAX_TEXT:
            raise Unreadable("unreadable_body", "the CDR does not say its uuid")
        return _ignored(leg, uuid) or _event(leg, uuid, tenant, settings)
    except Unreadable as error:
        error.external_id, error.tenant = uuid[:MAX_TEXT], tenant[:MAX_TEXT]
        raise


def _tenant(leg: Leg) -> str:
    names = ("billing_tenant", "domain_name", "accountcode")
    return next((leg.variables[name] for name in names if name in leg.variables), "")


def _ignored(leg: Leg, uuid: str) -> Ignored | None:
    """Why the leg is no usage of its own, or None. A fax that went through was answered, whatever the times say."""
    if "originating_leg_uuid" in leg.variables:
        return Ignored("detail_leg")
    fax = leg.variables.get("fax_success")
    if fax != "1" and _moment(leg, "answer") is None:
        return Ignored("unanswered", *_call(leg, uuid))
    return Ignored("fax_failed", *_call(leg, uuid)) if fax not in (None, "1") else None


def _call(leg: Leg, uuid: str) -> tuple[str, str]:
    """The call that the leg belongs to, and the hold that was granted to it."""
    return leg.variables.get("call_uuid", uuid)[:MAX_TEXT], leg.variables.get("billing_hold", "")[:MAX_TEXT]


def _event(leg: Leg, uuid: str, tenant: str, settings: SourceSettings) -> UsageEvent:
    if not tenant or len(tenant) > MAX_TEXT:
        raise Unreadable("unknown_tenant", "neither billing_tenant nor domain_name nor accountcode is set")
    variables, direction = leg.variables, _direction(leg)
    fax = "fax_success" in variables
    cause = variables.get("hangup_cause")
    call_id, hold = _call(leg, uuid)
    return UsageEvent(
        external_id=uuid,
        tenant=tenant,
        resource="fax_pages" if fax else "voice_minutes",
        quantity=_counted(leg, "fax_document_transferred_pages") if fax else _seconds(leg),
        occurred_at=_started_at(leg),
        metered=fax or direction in settings.metered_directions,
        direction=direction,
        caller=_party(leg, "caller_id_number", "sip_from_user"),
        callee=_party(leg, "destination_number", "sip_req_user", "sip_to_user"),
        call_id=call_id,
        hold=hold,
        attributes={"hangup_cause": cause} if cause else {},
    )


def _party(leg: Leg, name: str, *sip_names: str) -> str:
    """A caller or callee: the variable of that name, else the caller profile's, else what SIP said."""
    found = [leg.variables.get(name), leg.caller_profile.get(name), *map(leg.variables.get, sip_names)]
    return next((text[:MAX_TEXT] for text in found if text), "")


def _direction(leg: Leg) -> str:
    """`call_direction` (FusionPBX says `local` for internal), else what the leg was bridged to and came from."""
    said = _DIRECTIONS.get(leg.variables.get("call_direction", "").lower())
    if said:
        return said
    if any("sofia/gateway/" in _DIAL_VARIABLES.sub("", dialled) for dialled in _dial_strings(leg)):
        return "outbound"
    return "inbound" if "sip_gateway_name" in leg.variables else "internal"


def _dial_strings(leg: Leg) -> list[str]:
    """What the leg was bridged to. The log counts only for a leg that was bridged: it holds failed attempts too."""
    variables = leg.variables
    applications = (("last_app", "last_arg"), ("current_application", "current_application_data"))
    dialled = [variables.get(data, "") for name, data in applications if variables.get(name) == "bridge"]
    bridged = "last_bridge_to" in variables or "bridge_uuid" in variables
    return [*dialled, *leg.bridged_to] if bridged else dialled


def _seconds(leg: Leg) -> int:
    """Talk seconds: `billmsec` half-up, else `billsec` (a difference of truncated epochs, up to 1 s off)."""
    if "billmsec" in leg.variables:
        return (_counted(leg, "billmsec") + 500) // 1000
    return _counted(leg, "billsec")


def _started_at(leg: Leg) -> datetime:
    for name in ("start", "answer", "end"):
        moment = _moment(leg, name)
        if moment is not None:
            return moment
    raise Unreadable("unreadable_time", "the CDR has neither start_epoch nor answer_epoch nor end_epoch")


def _moment(leg: Leg, name: str) -> datetime | None:
    """`<name>_uepoch` or `<name>_epoch` as aware UTC, exact to the microsecond; None when it is missing or 0."""
    for suffix, factor in _MICROSECONDS.items():
        text = leg.variables.get(f"{name}_{suffix}", "0")
        if not is_number(text):
            raise Unreadable("unreadable_time", f"{name}_{suffix} is not a time: {text[:40]}")
        if int(text):
            try:
                return _EPOCH + timedelta(microseconds=int(text) * factor)
            except OverflowError as error:
                raise Unreadable("unreadable_time", f"{name}_{suffix} is out of range: {text}") from error
    return None


def _counted(leg: Leg, name: str) -> int:
    return quantity(leg.variables.get(name, ""), name)
