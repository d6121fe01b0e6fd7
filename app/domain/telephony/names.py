"""What the things of an allocated resource may be called. Pure."""

import re

import phonenumbers
from phonenumbers import PhoneNumberFormat, ValidationResult

from app.core.errors import Invalid

EXTENSIONS, DIDS = "extensions", "dids"
MAX_LENGTH = 255
_EXTENSION = re.compile(r"[0-9]{2,10}")
_NUMBER = re.compile(r"\+?[0-9 ()./-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LEAST_DIGITS = 7  # of a number in a range that is not known


def checked_name(resource_code: str, name: str, country: str) -> str:
    """`name` as it is kept. Raises Invalid (`invalid_name`, `invalid_extension`, `invalid_number`).

    An extension is 2 to 10 digits, a DID a number in E.164 (see `e164`), anything else 1 to 255 characters.
    """
    name = " ".join(name.split())
    if resource_code == EXTENSIONS:
        if not _EXTENSION.fullmatch(name):
            raise Invalid("invalid_extension", "An extension is 2 to 10 digits.", field="name")
        return name
    if resource_code == DIDS:
        return e164(name, country)
    if not name:
        raise Invalid("invalid_name", "Enter a name.", field="name")
    return checked_line(name, "name")


def checked_line(text: str, field: str) -> str:
    """`text` without space around it. Raises Invalid (`invalid_name`) for what does not fit on a line."""
    text = text.strip()
    if len(text) > MAX_LENGTH or _CONTROL.search(text):
        raise Invalid("invalid_name", f"At most {MAX_LENGTH} characters on one line.", field=field)
    return text


def e164(text: str, country: str) -> str:
    """A phone number in E.164; a national one is read in `country` (ISO 3166). Raises Invalid (`invalid_number`).

    A number of a known range is taken, and one of the right length in a range that is not known yet.

    >>> e164("030 901820", "DE"), e164("+44 20 7946 0958", "")
    ('+4930901820', '+442079460958')
    """
    try:
        if not _NUMBER.fullmatch(text):
            raise ValueError("not a number")
        number = phonenumbers.parse(text, country or None)
    except (ValueError, phonenumbers.NumberParseException):
        raise _invalid_number(country) from None
    possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    digits = len(phonenumbers.national_significant_number(number))
    if not (phonenumbers.is_valid_number(number) or (possible and digits >= LEAST_DIGITS)):
        raise _invalid_number(country)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _invalid_number(country: str) -> Invalid:
    way = "as it is dialled at home or abroad" if country else "with its plus and country code"
    return Invalid("invalid_number", f"Enter a phone number {way}, such as +44 20 7946 0958.", field="name")
