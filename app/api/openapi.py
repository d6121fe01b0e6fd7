"""The OpenAPI 3.1 description, generated from the registered operations and their types."""

import re
from typing import Any

import msgspec
from flask import Response, render_template

from app.api.blueprint import Operation, answer, bp, operations

PROBLEMS = {
    400: "The body is not JSON",
    401: "No valid API key",
    403: "The key lacks the scope",
    404: "Not found",
    409: "Does not fit the present state",
    413: "Over 10 MB or 10,000 events",
    415: "Compressed body",
    422: "The body breaks a rule; `errors` says where",
    500: "Our fault, and logged",
    503: "The database does not answer; nothing was stored",
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
    },
}


@bp.get("/openapi.json")
def openapi() -> Response:
    """Needs no key."""
    return answer(description())


@bp.get("/docs")
def docs() -> str:
    """The same, for people. Needs no key."""
    return render_template("api/docs.html", description=description(), operations=operations, problems=PROBLEMS)


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    types = [kind for op in operations for kind in (*op.takes, op.gives)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        path = "/api/v1" + re.sub(r"<(\w+)>", r"{\1}", op.path)
        paths.setdefault(path, {})[op.method.lower()] = _operation(op, by_type)
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
            },
        },
    }


def _operation(op: Operation, by_type: dict[str, Any]) -> dict[str, Any]:
    success = {"description": "OK", "content": {"application/json": {"schema": by_type[repr(op.gives)]}}}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    responses: dict[str, Any] = {"200": success}
    if 201 in op.also:
        responses["201"] = {**success, "description": "Created"}
    for status in sorted({*op.also, 401, 403, 500, 503} - {201}):
        responses[str(status)] = {"description": PROBLEMS[status], **problem}
    described: dict[str, Any] = {
        "operationId": op.endpoint,
        "summary": op.summary,
        "description": f"Scope: `{op.scope}`",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"<(\w+)>", op.path)
        ]
        + [{"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in op.query],
        "responses": responses,
    }
    if op.method in ("POST", "PUT"):
        given = [by_type[repr(kind)] for kind in op.takes] or [{"type": "string"}]
        schema = given[0] if len(given) == 1 else {"anyOf": given}
        described["requestBody"] = {"required": True, "content": {op.content_type: {"schema": schema}}}
    return described
