"""The provider's side of every invoice: who sends it and on which terms."""

from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from app.config import Settings
from app.core.money import parse_micros


@dataclass(frozen=True, slots=True)
class Issuer:
    """As printed. `address` is lines."""

    name: str
    address: tuple[str, ...] = ()
    email: str = ""
    tax_id: str = ""
    iban: str = ""
    bic: str = ""
    country: str = ""  # ISO 3166
    logo: str = ""  # hash of the picture

    def printed(self) -> dict[str, Any]:
        """For the invoice to keep."""
        kept = {**asdict(self), "address": list(self.address)}
        return kept if self.logo else {name: value for name, value in kept.items() if name != "logo"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every tenant unless its billing profile says otherwise."""

    issuer: Issuer
    prefix: str = "{year}-"
    minimum_micros: int = 0
    payment_days: int = 14
    tax_code: str = "none"
    late_days: int = 2
    mails: bool = False  # what is issued goes to its tenant by mail
    quotes_hold: timedelta = timedelta(minutes=15)

    @classmethod
    def of(cls, settings: Settings, logo: str = "") -> "Terms":
        """The terms that the settings say; `logo` is for what is drafted with them. See `terms` of app/branding.py."""
        lines = (line.strip() for line in settings.PROVIDER_ADDRESS.split("|"))
        issuer = Issuer(
            settings.PROVIDER_NAME,
            tuple(line for line in lines if line),
            settings.PROVIDER_EMAIL,
            settings.PROVIDER_TAX_ID,
            settings.PROVIDER_IBAN,
            settings.PROVIDER_BIC,
            settings.PROVIDER_COUNTRY.upper(),
            logo,
        )
        return cls(
            issuer,
            settings.INVOICE_PREFIX,
            parse_micros(settings.INVOICE_MINIMUM),
            settings.PAYMENT_DAYS,
            settings.TAX_RATE,
            settings.LATE_USAGE_DAYS,
            settings.MAIL_INVOICES,
            timedelta(minutes=settings.QUOTE_MINUTES),
        )

    def prefix_on(self, day: date) -> str:
        """The series of an invoice of that day."""
        return self.prefix.replace("{year}", str(day.year))

    def is_due(self, ended_at: datetime, now: datetime) -> bool:
        """Whether what ended then is over for long enough that its usage is known."""
        return ended_at + timedelta(days=self.late_days) <= now
