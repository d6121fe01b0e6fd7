"""From the bytes FreeSWITCH posts or spools to one plain `Leg`, the same for JSON and XML."""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from app.core.usage import Unreadable
from app.pbx.text import clean

# What switch_url_encode always replaces (SWITCH_URL_UNSAFE in switch_utils.h, and all but printable
# ASCII): a value that holds one of these was not percent-encoded.
_NOT_ENCODED = re.compile(r'[^!-~]|["#&+:;<=>?@\[\\\]^`{|}]|%(?![0-9A-Fa-f]{2})')
_FIELD = re.compile("(?:^|&)cdr=")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_MOST_TAGS = 50_000  # a CDR has some hundreds; each takes a hundred bytes and more once it is read
_LAYERS = 4  # cdr=, percent-encoding and base64 at most wrap each other; more is not FreeSWITCH


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a call, its values decoded; empty values are left out."""

    variables: dict[str, str]
    caller_profile: dict[str, str]  # as first dialled, before any transfer
    bridged_to: tuple[str, ...]  # dial strings given to `bridge`, by the application log


def read_leg(body: bytes) -> Leg:
    """The leg in `body`, whichever encoding of mod_json_cdr or mod_xml_cdr it has.

    Raises Unreadable `unreadable_body` for everything else, however deep or broken.
    """
    document = _document(body)
    try:
        leg = _from_json(document) if document.startswith("{") else _from_xml(document)
    except (ValueError, ParseError, RecursionError, LookupError) as error:
        raise Unreadable("unreadable_body", f"neither a JSON nor an XML CDR: {error}"[:300]) from error
    if not leg.variables:
        raise Unreadable("unreadable_body", "the CDR carries no channel variables")
    return leg


def _document(body: bytes) -> str:
    """The bare JSON or XML text: `cdr=`, percent-encoding and base64 taken off.

    The content type is not asked, because FreeSWITCH sends raw JSON as a form.
    """
    text = _trimmed(body.decode("utf-8", "replace"))
    field = None if text.startswith(("{", "<")) else _FIELD.search(text)
    text = _trimmed(text[field.end() :]) if field else text
    for _ in range(_LAYERS):
        if text.startswith(("{", "<")):
            return text
        before, text = text, _trimmed(_unwrapped(text.partition("&")[0]))
        if text == before:
            break
    raise Unreadable("unreadable_body", "no CDR in the body")


def _trimmed(text: str) -> str:
    return text.strip("\ufeff\x00 \t\r\n")


def _unwrapped(text: str) -> str:
    """`text` with one layer of percent-encoding or base64 taken off."""
    if "%" in text:
        # switch_url_encode writes a blank as %20 and a plus as %2B; a form library writes a blank as a plus.
        return unquote(text) if "%20" in text else unquote_plus(text)
    packed = "".join(text.split())
    try:
        return base64.b64decode(packed, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise Unreadable("unreadable_body", "no CDR in the body") from error


def _from_json(text: str) -> Leg:
    # Numbers stay text: none is too large to read, and "5" and 5 are the same.
    document = json.loads(text, strict=False, parse_int=str, parse_float=str, parse_constant=str)
    flows = document.get("callflow")
    flows = flows if isinstance(flows, list) else [flows]
    first = min((_mapping(flow) for flow in flows), key=lambda flow: _index(flow.get("profile_index")))
    applications = _mapping(document.get("app_log")).get("applications")
    applications = applications if isinstance(applications, list) else []
    return Leg(
        variables=_decoded(_texts(_mapping(document.get("variables")).items())),
        caller_profile=_cleaned(_texts(_mapping(first.get("caller_profile")).items())),
        bridged_to=_bridges(_mapping(application) for application in applications),
    )


def _from_xml(text: str) -> Leg:
    if text.count("<") > _MOST_TAGS:
        raise Unreadable("unreadable_body", f"more than {_MOST_TAGS} tags are no CDR")
    root: Element = fromstring(_NOT_XML.sub("", text))
    flow = min(root.findall("callflow"), key=lambda flow: _index(flow.get("profile_index")), default=None)
    profile = flow.find("caller_profile") if flow is not None else None
    log = root.find("app_log")
    return Leg(
        variables=_decoded(_children(root.find("variables"))),
        caller_profile=_cleaned(_children(profile)),
        bridged_to=_bridges(application.attrib for application in (log if log is not None else ())),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _index(value: Any) -> int:
    """`profile_index`: 1 for the dialling that started the leg; whatever has none comes last."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else 10**9


def _texts(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: value for name, value in pairs if isinstance(value, str)}


def _children(parent: Element | None) -> dict[str, str]:
    return {child.tag: child.text or "" for child in (parent if parent is not None else ())}


def _bridges(applications: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    logged = ((entry.get("app_name"), entry.get("app_data")) for entry in applications)
    return tuple(data for name, data in logged if name == "bridge" and isinstance(data, str))


def _decoded(values: dict[str, str]) -> dict[str, str]:
    """Channel variables, percent-decoded where the document as a whole is encoded.

    Whether it is (`encode-values`; always in XML) is said nowhere. An encoded document has no
    value with a blank or a plus in it, a plain one has many (every time stamp), so the majority
    decides and a literal "%2B" of a plain document stays. A plus is never a blank here.
    """
    values = {name: value.strip() for name, value in values.items()}
    plain = {name for name, value in values.items() if _NOT_ENCODED.search(value)}
    encoded = {name for name, value in values.items() if "%" in value} - plain
    if len(encoded) > len(plain):
        values |= {name: unquote(values[name]) for name in encoded}
    return _cleaned(values)


def _cleaned(values: dict[str, str]) -> dict[str, str]:
    """Cleaned values without the empty ones."""
    return {name: text for name, value in values.items() if (text := clean(value))}
