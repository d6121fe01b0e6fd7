"""How numbers, dates, times and talk time are shown to somebody: chosen by a person, else by their tenant.

Empty is no choice of one's own: what is chosen for the tenant, else what the portal comes with.
"""

from typing import NamedTuple
from zoneinfo import available_timezones

from app.core.errors import Invalid

# CLDR's names of a language in a country. Words follow the translations that there are, whichever is chosen.
LOCALES = (
    "cs_CZ", "da_DK", "de_AT", "de_CH", "de_DE", "en_AU", "en_CA", "en_GB", "en_IE", "en_US", "es_ES", "fi_FI",
    "fr_BE", "fr_CH", "fr_FR", "it_IT", "nb_NO", "nl_BE", "nl_NL", "pl_PL", "pt_BR", "pt_PT", "sv_SE",
)  # fmt: skip
UNITS = ("minutes", "hours")  # of what is counted in minutes: 90 minutes, or 1:30 h
_ZONES = available_timezones()


class Display(NamedTuple):
    """What is chosen; `zone` is that of a person alone, since a tenant always has one."""

    locale: str = ""
    zone: str = ""
    units: str = ""


def check_display(wanted: Display) -> None:
    """Raises Invalid with the field for what cannot be chosen."""
    if wanted.locale not in ("", *LOCALES):
        raise Invalid("unknown_locale", f"“{wanted.locale}” cannot be chosen.", field="locale")
    if wanted.zone and wanted.zone not in _ZONES:
        raise Invalid("unknown_timezone", f"“{wanted.zone}” is not a time zone.", field="zone")
    if wanted.units not in ("", *UNITS):
        raise Invalid("unknown_units", f"“{wanted.units}” cannot be chosen.", field="units")
