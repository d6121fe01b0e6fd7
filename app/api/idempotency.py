"""`Idempotency-Key`: the first answer to a request is kept and given again, and the act is done once."""

import hashlib
from collections.abc import Callable

from flask import Response, current_app, g, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.api.problems import Problem, respond
from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import run_in_transaction
from app.domain.accounts import idempotency
from app.domain.accounts.idempotency import Answer, Claim

HEADER = "Idempotency-Key"
MAX_LENGTH = 255


def once(view: Callable[[], Response]) -> Response:
    """The answer of `view`, or the one it gave to this key before.

    Raises Problem 400 for a senseless key, Invalid and Conflict as `idempotency.claim`.
    """
    key = request.headers[HEADER]
    if not (0 < len(key) <= MAX_LENGTH and key.isascii() and key.isprintable()):
        raise Problem(400, "invalid_idempotency_key", f"An {HEADER} has 1 to {MAX_LENGTH} ASCII characters.")
    source_id, request_hash = g.key.source.id, _request_hash()
    found = run_in_transaction(lambda session: idempotency.claim(session, source_id, key, request_hash, now=utc_now()))
    if isinstance(found, Answer):
        return Response(
            found.body, found.status, content_type=found.content_type, headers={"Idempotent-Replayed": "true"}
        )
    g.claim = found
    return _first_answer(view, found)


def is_claimed() -> bool:
    """Whether the request has a key, so that its answer belongs into the transaction of its act: see `transact`."""
    return g.get("claim") is not None


def transact(act: Callable[[Session], Response]) -> Response:
    """`act` in one transaction, its answer kept by the same transaction where the request has a key."""
    claim: Claim | None = g.pop("claim", None)
    if claim is None:
        return run_in_transaction(act)

    def act_and_keep(session: Session) -> Response:
        response = act(session)
        idempotency.keep(session, claim, _answer(response))
        return response

    try:
        return run_in_transaction(act_and_keep)
    except BaseException:
        g.claim = claim  # rolled back: nothing was kept
        raise


def _first_answer(view: Callable[[], Response], claim: Claim) -> Response:
    """The answer of `view`, kept. A refusal is an answer too; a failure is none and lets the next one try."""
    try:
        response = view()
    except (Problem, DomainError) as refusal:
        response = respond(refusal)
    except BaseException:
        _release(claim)
        raise
    if g.pop("claim", None) is not None:
        run_in_transaction(lambda session: idempotency.keep(session, claim, _answer(response)))
    return response


def _release(claim: Claim) -> None:
    try:
        run_in_transaction(lambda session: idempotency.release(session, claim))
    except SQLAlchemyError as error:  # the failure it follows is the one to report; the claim runs out by itself
        current_app.logger.warning("claim not released: %s", error)


def _request_hash() -> str:
    """32 bytes in hex over what is asked: method, address and body."""
    asked = f"{request.method} {request.full_path}\n".encode() + request.get_data(cache=True)
    return hashlib.sha256(asked).hexdigest()


def _answer(response: Response) -> Answer:
    return Answer(response.status_code, response.content_type, response.get_data(as_text=True))
