"""Call control: may this call go on, and for how long? JSON for programs, one line of text for dialplans."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from flask import Flask, Response, current_app, g, request
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.orm import Session

from app.api.blueprint import NUL_REFUSED, answer, body_as, operation, raw_body, with_pointer
from app.api.idempotency import is_claimed, transact
from app.api.problems import Problem, invalid, respond
from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import NotFound
from app.db import db, run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.metering import calls
from app.domain.metering.decision import Call, Decision, MetLimit, Terms
from app.domain.metering.holds import HoldName
from app.group_commit import GroupCommit

MAX_SECONDS = 86_400
Body = TypeVar("Body", "AuthorizeBody", "RenewBody", "EndBody")
Found = TypeVar("Found")
_Name = Annotated[str, Meta(min_length=1, max_length=255)]
_Party = Annotated[str, Meta(max_length=255)]
_Seconds = Annotated[int, Meta(ge=1, le=MAX_SECONDS)]
_NUMBERS, _WHOLE = {"seconds", "seconds_used"}, re.compile(r"-?[0-9]+")  # as a form writes them
_Talked = Annotated[int, Meta(ge=0, le=31_536_000)]


class AuthorizeBody(msgspec.Struct):
    """A call that asks to go on; `seconds` asked for, by default what the installation grants at once."""

    tenant: _Name
    call_id: _Name
    caller: _Party = ""
    callee: _Party = ""
    kind: Literal["voice", "fax"] = "voice"
    direction: Literal["outbound", "inbound", "internal"] = "outbound"
    seconds: _Seconds | None = None


class RenewBody(msgspec.Struct):
    """A call that goes on; without `seconds_used` it is taken to talk since it was authorised."""

    hold: _Name
    seconds_used: _Talked | None = None


class EndBody(msgspec.Struct):
    """A call that hung up after `seconds` of talk."""

    hold: _Name
    seconds: _Talked = 0


class LimitAnswer(msgspec.Struct):
    """The limit that was met, in base units of the resource."""

    resource: str
    included: int | None
    used: int
    on_hold: int


class CallAnswer(msgspec.Struct):
    """Allowed for `seconds` from now under `hold`, or refused with a stable `reason`."""

    allowed: bool
    seconds: int
    hold: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    remaining: int | UnsetType | None = UNSET  # base units after the grant; null where nothing limits
    reason: str | UnsetType = UNSET
    limit: LimitAnswer | UnsetType = UNSET
    message: str | UnsetType = UNSET


class EndAnswer(msgspec.Struct):
    """The hold is over; what was not used is free."""

    ended: bool
    hold: str


def _limited(problem: Problem) -> Response:
    """A dialplan reads a line, whatever is wrong."""
    if not _wants_text():
        return respond(problem)
    line = _line("deny", 0, "", problem.code)
    line.status_code = problem.status
    line.headers.extend(problem.headers)
    return line


@operation(
    "POST",
    "/calls/authorize",
    "May this call go on, and for how long? Form fields in: one line of text out",
    scope="calls",
    takes=(AuthorizeBody,),
    takes_also={"application/x-www-form-urlencoded": AuthorizeBody},
    gives_also=("text/plain",),
    gives=CallAnswer,
    limited=_limited,
)
def authorize() -> Response:
    """A grant is a hold that ends with the call's CDR, its end, or by itself."""

    def ask(body: AuthorizeBody) -> Callable[[Session], Decision]:
        call = Call(body.tenant, body.call_id, body.kind, body.direction, body.caller, body.callee)
        source_id, terms, now = g.key.source.id, _terms(body.seconds), utc_now()
        return lambda session: calls.authorize(session, source_id, call, terms, now=now)

    return _asked(AuthorizeBody, ask, _decided)


@operation(
    "POST",
    "/calls/renew",
    "More time for a call in progress",
    scope="calls",
    takes=(RenewBody,),
    takes_also={"application/x-www-form-urlencoded": RenewBody},
    gives_also=("text/plain",),
    gives=CallAnswer,
    also=(404,),
    limited=_limited,
)
def renew() -> Response:
    """`seconds` count from now."""

    def ask(body: RenewBody) -> Callable[[Session], Decision]:
        source_id, terms, now = g.key.source.id, _terms(None), utc_now()
        return lambda session: calls.renew(session, source_id, body.hold, body.seconds_used, terms, now=now)

    return _asked(RenewBody, ask, _decided, request.form.get("hold", "") if _is_form() else "")


@operation(
    "POST",
    "/calls/end",
    "A call hung up: frees what it did not use",
    scope="calls",
    takes=(EndBody,),
    takes_also={"application/x-www-form-urlencoded": EndBody},
    gives_also=("text/plain",),
    gives=EndAnswer,
    also=(404,),
    limited=_limited,
)
def end_call() -> Response:
    """The CDR stays what is billed. Ending an ended hold is 200."""

    def ask(body: EndBody) -> Callable[[Session], tuple[HoldName, int]]:
        source_id, grace, now = g.key.source.id, _settings().HOLD_GRACE_SECONDS, utc_now()
        return lambda session: (
            calls.end(session, source_id, body.hold, body.seconds, grace=grace, now=now),
            body.seconds,
        )

    return _asked(EndBody, ask, _ended)


def init_app(app: Flask) -> None:
    """One queue for acts of call control that come at the same time."""
    app.extensions["calls"] = GroupCommit(_do_all)


Act = Callable[[Session], Found]


def _do_all(session: Session, acts: Sequence[tuple[str, Act[Any]]]) -> list[Any]:
    """What each act found. They run in the order in which everybody locks meters, which is that of tenants."""
    ids = calls.tenant_ids(session, {tenant for tenant, _ in acts}) if len(acts) > 1 else {}
    order = sorted(range(len(acts)), key=lambda place: ids.get(acts[place][0].lower(), 0))
    found = {place: acts[place][1](session) for place in order}
    return [found[place] for place in range(len(acts))]


def _together(body: AuthorizeBody | RenewBody | EndBody, act: Act[Found]) -> Found:
    """Share a transaction, but for acts that lock a hold beside other writers: a batch locks all of its holds first."""
    if isinstance(body, AuthorizeBody) or db.engine.dialect.name == "sqlite":
        queue: GroupCommit[tuple[str, Act[Any]], Found] = current_app.extensions["calls"]
        return queue.run((body.tenant if isinstance(body, AuthorizeBody) else "", act))
    return run_in_transaction(act)


def _asked(
    kind: type[Body], ask: Callable[[Body], Act[Found]], respond: Callable[[Found], Response], hold: str = ""
) -> Response:
    """The answer, its transaction over; a dialplan reads why even when its request was no good."""
    try:
        body = _body(kind)
        act = ask(body)
        if is_claimed():
            return transact(lambda session: respond(act(session)))
        return respond(_together(body, act))
    except (Problem, NotFound) as problem:
        if not _wants_text():
            raise
        line = _line("deny", 0, hold, problem.code)
        line.status_code = problem.status
        return line


def _body(kind: type[Body]) -> Body:
    if not _is_form():
        return body_as(kind)
    # A dialplan sends what it has, and a variable that was never set is empty: the same as not sent.
    fields = {name: value for name, value in request.form.items() if value}
    if any("\x00" in value for value in fields.values()):
        raise invalid("invalid_body", NUL_REFUSED, "")
    if odd := next((name for name in _NUMBERS & fields.keys() if not _WHOLE.fullmatch(fields[name])), None):
        raise invalid("invalid_body", "Expected a whole number", f"/{odd}")  # as msgspec would read `1e3` and `1.0`
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid("invalid_body", *with_pointer(str(error))) from None


def _is_form() -> bool:
    """Whether the body is form fields; a JSON body is one whatever it says of itself."""
    if request.mimetype != "application/x-www-form-urlencoded":
        return False
    return not raw_body().lstrip().startswith(b"{")  # read before the form is touched, which would empty it


def _wants_text() -> bool:
    """A line of text for form fields, JSON for JSON, unless `Accept` names one of them."""
    accepted = {kind.lower() for kind, quality in request.accept_mimetypes if quality > 0}
    named = accepted & {"application/json", "text/plain"}
    if len(named) == 1:
        return named == {"text/plain"}
    if named:
        return request.accept_mimetypes["text/plain"] > request.accept_mimetypes["application/json"]
    return _is_form()


def _ended(found: tuple[HoldName, int]) -> Response:
    name, seconds = found
    if _wants_text():
        return _line("end", seconds, str(name), "")
    return answer(EndAnswer(True, str(name)))


def _decided(decision: Decision) -> Response:
    name = str(decision.hold) if decision.hold else ""
    if _wants_text():
        return _line("allow" if decision.allowed else "deny", decision.seconds, name, decision.reason)
    if decision.allowed:
        assert decision.expires_at is not None
        until = decision.expires_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return answer(CallAnswer(True, decision.seconds, name, until, decision.remaining))
    return answer(
        CallAnswer(
            False,
            0,
            hold=name or UNSET,
            reason=decision.reason,
            limit=_limit(decision.limit) if decision.limit else UNSET,
            message=decision.message,
        )
    )


def _limit(met: MetLimit) -> LimitAnswer:
    return LimitAnswer(met.resource, met.included, met.used, met.on_hold)


def _line(verdict: str, seconds: int, hold: str, reason: str) -> Response:
    return Response(f"{verdict},{seconds},{hold},{reason}\n", mimetype="text/plain")


def _settings() -> Settings:
    settings: Any = current_app.config["RINGPLAN"]
    assert isinstance(settings, Settings)
    return settings


def _terms(seconds: int | None) -> Terms:
    settings, source = _settings(), accounts.settings_of(g.key.source)
    return Terms(seconds or settings.CALL_GRANT_SECONDS, settings.HOLD_GRACE_SECONDS, source.metered_directions)
