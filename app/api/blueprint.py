"""The blueprint of every machine route, and what each request must bring."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Response, g, request

from app import wall
from app.api import idempotency, limits
from app.api.problems import Problem, invalid
from app.core.clock import utc_now
from app.core.cursor import decode_cursor
from app.core.errors import NotFound
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.service import KnownKey
from app.domain.tenants import service as tenants

bp = Blueprint("api", __name__, url_prefix="/api/v1")
View = Callable[..., Response]
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
NUL_REFUSED = "A NUL character is not allowed."
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # the escape, and not a backslash before the word u0000


@dataclass(frozen=True, slots=True)
class Operation:
    """What the description says of one route."""

    method: str
    path: str
    summary: str
    scope: str
    takes: tuple[type, ...]
    gives: type | None
    endpoint: str
    content_type: str
    takes_also: Mapping[str, Any]
    gives_also: tuple[str, ...]
    also: tuple[int, ...]
    query: tuple[str, ...]

    @property
    def is_unsafe(self) -> bool:
        """Whether it changes something, so that an Idempotency-Key is kept."""
        return self.method != "GET"

    @property
    def has_body(self) -> bool:
        """Whether a body is read."""
        return self.method not in ("GET", "DELETE")


operations: list[Operation] = []


def operation(
    method: str,
    path: str,
    summary: str,
    *,
    scope: str,
    gives: type | None,
    takes: tuple[type, ...] = (),
    content_type: str = "application/json",
    takes_also: Mapping[str, Any] = MappingProxyType({}),
    gives_also: tuple[str, ...] = (),
    also: tuple[int, ...] = (),
    query: tuple[str, ...] = (),
    limited: Callable[[Problem], Response] | None = None,
) -> Callable[[View], View]:
    """Open a route to keys with `scope`, and describe it: the only way to add one, so none is undescribed.

    `takes` are the types a body may have, `takes_also` those of other content types, `gives` that of the answer
    (None: 204, nothing to say), `gives_also` the content types that `Accept` may name beside JSON; `also` the status
    codes beyond 200 and those of every route. `limited` makes the answer to who sends too much, where it is not the
    problem itself.
    """

    def register(view: View) -> View:
        @wraps(view)
        def guarded(**arguments: Any) -> Response:
            try:
                key = require_key(scope)
            except Problem as problem:
                if problem.status == 429 and limited is not None:
                    return limited(problem)
                raise
            if key.tenant_id is not None:
                _only_own(key, scope, arguments)
            if "\x00" in request.path:  # no name has one, and PostgreSQL refuses even to look
                raise Problem(404, "not_found", "There is nothing at this address.")
            if idempotency.HEADER in request.headers and method != "GET":
                raw_body()
                return limits.add_headers(idempotency.once(lambda: view(**arguments)))
            return limits.add_headers(view(**arguments))

        operations.append(
            Operation(
                method, path, summary, scope, takes, gives, view.__name__, content_type, takes_also, gives_also, also,
                query,
            )
        )  # fmt: skip
        bp.add_url_rule(path, view.__name__, guarded, methods=[method])
        return view

    return register


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(_encode(body), status, mimetype="application/json")


def body_as(kind: type[T]) -> T:
    """The request's body as `kind`. Raises Problem 400 for what is no JSON, 415 and 422 with pointers."""
    raw = raw_body()
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise invalid("invalid_body", *with_pointer(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "unreadable_json", f"The body is not JSON: {error}") from None
    if _NUL.search(raw):  # no database keeps a NUL in a text, and no name has one
        raise invalid("invalid_body", NUL_REFUSED, "")
    return body


def raw_body() -> bytes:
    """The request's bytes, read before anything touches the form (that would empty a JSON body sent as one)."""
    if request.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise Problem(415, "compressed_body", "Send the body without compression.")
    return request.get_data(cache=True)


def cursor_of(*shape: type) -> tuple[Any, ...] | None:
    """Where the page that is asked for begins, None at the first one. Raises Problem 422 for what is no cursor."""
    word = request.args.get("cursor", "")
    found = decode_cursor(word, *shape)
    if word and found is None:
        raise invalid("invalid_cursor", "This cursor was not made here.", "/cursor")
    return found


def in_utc(moment: datetime, pointer: str) -> datetime:
    """`moment` in UTC. Raises Problem 422 for one without an offset, or beyond the years that can be written."""
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except OverflowError:
        pass
    raise invalid("invalid_time", "Give an RFC 3339 time with an offset.", pointer)


_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`")


def with_pointer(message: str) -> tuple[str, str]:
    """msgspec says "… - at `$.limits[0].included`": its words, and the place as a JSON pointer."""
    detail, _, place = message.partition(" - at `$")
    pointer = re.sub(r"[.\[]", "/", place.rstrip("`")).replace("]", "")
    field = _FIELD.fullmatch(detail)
    if field is None:
        return detail, pointer
    return ("required" if "missing" in field[1] else "no such field"), f"{pointer}/{field[2]}"


def require_key(scope: str, presented: str | None = None) -> KnownKey:
    """The request's key, or the one `presented`; kept as `g.key`. Raises Problem 401, 403 (scope) and 429."""
    key = accounts.verify_key(db.session(), presented, utc_now()) if presented else _presented_key()
    if key is None:
        limits.count_stranger()
        raise Problem(401, "unauthorized", "Send a valid API key as Bearer token, or with HTTP Basic.")
    g.key = key
    limits.count_key(key)
    if scope not in key.scopes and not (scope == "read" and "provision" in key.scopes):
        accounts.note_refused(key, scope, request.path, utc_now())
        raise Problem(403, "missing_scope", f"This key does not have the scope “{scope}”.")
    return key


def _only_own(key: KnownKey, scope: str, arguments: Mapping[str, Any]) -> None:
    """A tenant's key reads what is under the tenant's own name. Raises Problem 403, and NotFound for a foreign name."""
    assert key.tenant_id is not None
    if scope != "read" or "ref" not in arguments:
        accounts.note_refused(key, scope, request.path, utc_now())
        raise Problem(403, "key_of_a_tenant", "This key reads its own tenant's data alone.")
    wall.show(key.tenant_id)
    if tenants.by_name(db.session(), arguments["ref"]).id != key.tenant_id:
        raise NotFound("unknown_tenant", f"No tenant is known as “{arguments['ref']}”.")


def _presented_key() -> KnownKey | None:
    given = request.authorization
    session, now = db.session(), utc_now()
    if given is not None and given.type == "bearer" and given.token:
        return accounts.verify_key(session, given.token, now)
    if given is not None and given.type == "basic":
        return accounts.verify_basic(session, given.username or "", given.password or "", now)
    return None
