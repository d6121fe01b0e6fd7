"""Translation with types: Flask-Babel ships none."""

from typing import Any

import flask_babel  # type: ignore[import-untyped]
from babel import Locale


def gettext(text: str, **values: Any) -> str:
    """`text` in the reader's language, with `%(name)s` filled in."""
    return str(flask_babel.gettext(text, **values))


def ngettext(one: str, many: str, num: int, **values: Any) -> str:
    """The form of the words that fits `num`, which fills `%(num)s`."""
    return str(flask_babel.ngettext(one, many, num, **values))


def get_locale() -> Locale | None:
    """The locale of the words; None outside a request."""
    locale: Locale | None = flask_babel.get_locale()
    return locale
