"""Telephone numbers as people read them, and as they look for them."""

import re
from functools import lru_cache

import phonenumbers

MIN_DIGITS = 8  # of a national number
_MASKED = re.compile(r"(?<=\d)x+$")  # the end of a number whose last digits are kept no more


def phone(text: str | None, country: str | None = None) -> str:
    """A number grouped as its country does, in the international form; else `text` as it is: `101`, `anonymous`.

    Read as E.164 when it begins with `+`, or as a national number of `country` (ISO 3166) when it has the
    trunk prefix 0 or, in North America, ten digits. Other digits may be either, and stay as they are.

    >>> phone("+442079460958"), phone("101"), phone("030901820", "DE")
    ('+44 20 7946 0958', '101', '+49 30 901820')
    >>> phone("+442079460xxx"), phone("030901xxx", "DE"), phone("xxx")
    ('+44 20 7946 0xxx', '+49 30 901xxx', 'xxx')
    """
    if not text:
        return "–"
    if text[-1] == "x" and (found := _MASKED.search(text)):  # the library would read digits into the letters
        shown = phone(text[: found.start()] + "0" * len(found[0]), country)
        places = [place for place, sign in enumerate(shown) if sign.isdigit()][-len(found[0]) :]
        return "".join("x" if place in places else sign for place, sign in enumerate(shown))
    if not text.startswith("+") and not (country and _is_national(text, country)):
        return text
    return _grouped(text, None if text.startswith("+") else country)


@lru_cache(maxsize=8192)
def _grouped(text: str, country: str | None) -> str:
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return text
    if not phonenumbers.is_possible_number(parsed):
        return text
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL).replace("-", " ")


def _is_national(text: str, country: str) -> bool:
    if not text.isdigit() or len(text) < MIN_DIGITS:
        return False
    return text.startswith("0") or (len(text) == 10 and phonenumbers.country_code_for_region(country) == 1)


def searched_phone(text: str) -> str:
    """What to look for when somebody types or copies a number as pages write it.

    A whole international number is looked for without its country code, since a PBX may have reported it as
    `+4930901820`, `004930901820` or `030901820`; anything else without its spaces.

    >>> searched_phone("+49 30 901820"), searched_phone("7946 0958"), searched_phone("+49")
    ('30901820', '79460958', '+49')
    >>> searched_phone("+49 30 901xxx")  # of a masked one what is left of it
    '30901'
    """
    bare = _MASKED.sub("", "".join(text.split()))
    try:
        parsed = phonenumbers.parse(bare, None)
    except phonenumbers.NumberParseException:
        return bare
    return str(parsed.national_number) if phonenumbers.is_possible_number(parsed) else bare
