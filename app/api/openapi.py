"""The OpenAPI 3.1 description, generated from the registered operations and their types."""

import re
from typing import Any

import msgspec
from flask import Response, render_template

from app.api.blueprint import Operation, answer, bp, operations
from app.api.examples import EXAMPLES
from app.api.gate import REASONS
from app.api.idempotency import HEADER, MAX_LENGTH

PROBLEMS = {
    400: "The request cannot be read",
    401: "No valid API key",
    403: "The key lacks the scope",
    404: "Not found",
    409: "Does not fit the present state",
    413: "Over 10 MB or 10,000 events",
    415: "Compressed body",
    422: "The body breaks a rule, errors says where; or the Idempotency-Key came with another request before",
    429: "Too many requests within ten seconds: wait for as many as Retry-After says",
    500: "Our fault, and logged",
    503: "The database does not answer; nothing was stored",
    507: "The disk of the database is full; nothing was stored",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable, for machines"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "limit": {
            "type": "object",
            "description": "the limit that was met, in base units",
            "properties": {
                "resource": {"type": "string"},
                "included": {"type": "integer"},
                "used": {"type": "integer"},
            },
        },
    },
}
_PROBLEM_CONTENT = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_RATE_HEADERS = {
    name: {"description": words, "schema": {"type": "string"}}
    for name, words in {
        "RateLimit-Policy": "the limit: q requests within w seconds",
        "RateLimit": "r requests are left, for t seconds",
        "Retry-After": "seconds to wait",
    }.items()
}
LINE = "text/plain"  # of call control, for dialplans
_LINE_STATUSES = {400, 404, 415, 422, 429}  # problems that a dialplan is told in its line
_SAYS_STATUS = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}, "reason": {"type": "string"}},
}
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
    "description": "The first answer is given again for 24 hours; with another request 422, while it runs 409.",
}


@bp.get("/openapi.json")
def openapi() -> Response:
    """Needs no key."""
    return answer(description())


@bp.get("/docs")
def docs() -> str:
    """The same, for people. Needs no key."""
    return render_template(
        "api/docs.html",
        description=description(),
        operations=sorted(operations, key=lambda op: list(EXAMPLES).index(op.endpoint)),
        examples={name: (_pretty(example.body), _pretty(example.answer)) for name, example in EXAMPLES.items()},
        statuses=statuses,
        problems=PROBLEMS,
    )


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    named = [kind for op in operations for kind in (*op.takes, *op.takes_also.values(), op.gives)]
    types = [kind for kind in named if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        path = "/api/v1" + re.sub(r"<(\w+)>", r"{\1}", op.path)
        paths.setdefault(path, {})[op.method.lower()] = _operation(op, by_type)
    paths |= _beside()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ringplan", "version": "1", "description": "What machines say to Ringplan."},
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "source code and API key"},
                "key": {"type": "apiKey", "in": "query", "name": "key"},
            },
        },
    }


def _operation(op: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": op.endpoint,
        "summary": op.summary,
        "description": f"Scope: `{op.scope}`",
        "parameters": _parameters(op),
        "responses": _responses(op, by_type),
    }
    if op.has_body:
        described["requestBody"] = {"required": True, "content": _content(op, by_type)}
    return described


def _beside() -> dict[str, dict[str, Any]]:
    """The addresses outside /api/v1: ICTPBX's gate, and what supervisors ask."""
    said = {
        "type": "object",
        "required": ["allowed", "reason"],
        "properties": {"allowed": {"type": "boolean"}, "reason": {"type": "string", "enum": REASONS}},
    }
    answered = {"content": {"application/json": {"schema": said}}}
    refused = {status: {"description": PROBLEMS[status], **_PROBLEM_CONTENT} for status in (401, 403, 500)}
    kinds = {"type": "string", "enum": ["voice", "fax"]}
    gate = {
        "operationId": "gate",
        "summary": "ICTPBX's question: may this tenant call?",
        "description": "Scope: `calls`. While the database is away it is closed, unless the source fails open",
        "security": [{"bearer": []}, {"basic": []}, {"key": []}],
        "parameters": [
            {"name": "tenant_id", "in": "query", "required": True, "schema": {"type": "string"}},
            {"name": "type", "in": "query", "required": False, "schema": kinds},
        ],
        "responses": {str(status): described for status, described in refused.items()}
        | {
            "200": {"description": "OK", **answered},
            "429": {"description": PROBLEMS[429], **answered, "headers": _RATE_HEADERS},
            "503": {"description": PROBLEMS[503], **answered},
        },
    }
    return {
        "/billing/gate": {"get": gate},
        "/healthz": {"get": _supervised("healthz", "The process is up")},
        "/readyz": {"get": _supervised("readyz", "The database answers and has this version's tables", 503)},
    }


def _supervised(name: str, summary: str, *also: int) -> dict[str, Any]:
    said = {"content": {"application/json": {"schema": _SAYS_STATUS}}}
    responses = {str(status): {"description": PROBLEMS[status], **said} for status in also}
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": "OK", **said}, **responses},
    }


def _parameters(op: Operation) -> list[dict[str, Any]]:
    example = EXAMPLES[op.endpoint]
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example.path[name]}
        for name in re.findall(r"<(\w+)>", op.path)
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        | ({"example": example.query[name]} if name in example.query else {})
        for name in op.query
    ]
    return in_path + in_query + ([_IDEMPOTENCY_KEY] if op.is_unsafe else [])


def _content(op: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    given = [by_type[repr(kind)] for kind in op.takes] or [{"type": "string"}]
    schema = given[0] if len(given) == 1 else {"anyOf": given}
    content = {op.content_type: {"schema": schema, "example": EXAMPLES[op.endpoint].body}}
    return content | {kind: {"schema": by_type[repr(taken)]} for kind, taken in op.takes_also.items()}


def _responses(op: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    responses = _successes(op, by_type)
    for status in statuses(op):
        responses[str(status)] = {"description": PROBLEMS[status], **_PROBLEM_CONTENT}
        if LINE in op.gives_also and status in _LINE_STATUSES:
            responses[str(status)]["content"] = _PROBLEM_CONTENT["content"] | _in_texts(LINE)
    responses["429"]["headers"] = _RATE_HEADERS
    return responses


def _successes(op: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    if op.gives is None:
        return {"204": {"description": "Done"}}
    shown = {"schema": by_type[repr(op.gives)], "example": EXAMPLES[op.endpoint].answer}
    content = {"content": {"application/json": shown, **_in_texts(*op.gives_also)}}
    created = {"201": {"description": "Created", **content}} if 201 in op.also else {}
    # What is posted is always made; what is put may have been there.
    found = {} if created and op.method == "POST" else {"200": {"description": "OK", **content}}
    return found | created


def _in_texts(*content_types: str) -> dict[str, Any]:
    return {content_type: {"schema": {"type": "string"}} for content_type in content_types}


def statuses(op: Operation) -> list[int]:
    """The codes of its problems: those of every route, of every address with a name in it, of acts, its own."""
    unsafe = {400, 409, 413, 415, 422} if op.is_unsafe else set()  # a DELETE, too, has a body to its Idempotency-Key
    named = {404} if "<" in op.path else set()
    return sorted({*op.also, *unsafe, *named, 401, 403, 429, 500, 503, 507} - {201})
