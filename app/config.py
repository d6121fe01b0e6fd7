"""Every setting: its type, its default and the environment variable that sets it (same name).

`instance/config.py`, where there is one, overrides the defaults; the environment overrides both.
"""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.core.addresses import parse_ranges

# What a number may be, both ends included. Retention: what is older than half a century is older than any call record.
BETWEEN: dict[str, tuple[float, float]] = {
    "PORT": (1, 65_535),
    "PAYMENT_DAYS": (0, 365),
    "LATE_USAGE_DAYS": (0, 365),
    "SUSPEND_DAYS": (0, 3_650),
    "QUOTE_MINUTES": (1, 1_440),
    "WORKERS": (1, 256),
    "BLOCKING_THREADS": (1, 10_000),
    "MAX_STREAMS": (0, 10_000),
    "POLL_SECONDS": (0.01, 3_600),
    "CALL_GRANT_SECONDS": (1, 86_400),
    "HOLD_GRACE_SECONDS": (0, 86_400),
    "RATE_LIMIT_KEY": (0, 10**9),
    "RATE_LIMIT_ADDRESS": (0, 10**9),
    "RETENTION_MONTHS": (0, 600),
    "SESSION_DAYS": (1, 3_650),
    "JOB_POLL_SECONDS": (0.01, 3_600),
    "JOB_LEASE_SECONDS": (0.1, 86_400),
    "MAIL_PORT": (1, 65_535),
    "WEBHOOK_THREADS": (1, 1_000),
}
MAX_PREFIX = 32  # what the database keeps of it; a year is shorter than `{year}`


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings an operator may change; README.md has the same table, and a test compares them."""

    RINGPLAN_INSTANCE: str = "instance"  # folder of the embedded database, the secret key and config.py
    DATABASE_URL: str = ""  # empty: SQLite in the instance folder; or postgresql://user:password@host/name
    DATABASE_OWNER_URL: str = ""  # PostgreSQL: who owns the tables and migrates them; empty: as DATABASE_URL
    HOST: str = "127.0.0.1"
    PORT: int = 8000
    RINGPLAN_DEMO: bool = True  # load the demo into an empty database at `make run`
    SECRET_KEY: str = ""  # empty: made once and kept in the instance folder
    TRUSTED_HOSTS: str = ""  # comma-separated host names the portal answers to; empty: loopback and HOST
    BEHIND_PROXY: bool = False  # trust one X-Forwarded-For/-Proto/-Host from a reverse proxy
    PRODUCT_NAME: str = "Ringplan"
    PROVIDER_NAME: str = "Northline Telecom"  # printed on statements
    PROVIDER_ADDRESS: str = ""  # printed on statements, lines separated by |
    PROVIDER_COUNTRY: str = ""  # ISO 3166, such as DE; empty: that of the tax id, else of the account
    PROVIDER_EMAIL: str = ""
    PROVIDER_TAX_ID: str = ""  # printed on invoices
    PROVIDER_IBAN: str = ""
    PROVIDER_BIC: str = ""
    INVOICE_PREFIX: str = "{year}-"  # of invoice numbers; each prefix counts from 1
    INVOICE_MINIMUM: str = "0"  # the least amount of an invoice, in its currency
    PAYMENT_DAYS: int = 14  # until an invoice is due, unless the tenant's profile says otherwise
    TAX_RATE: str = "none"  # the code of the rate that applies, unless the tenant's profile says otherwise
    LATE_USAGE_DAYS: int = 2  # how long after its end a period waits for usage before it is billed
    REMINDER_DAYS: str = "3,14"  # so many days after an invoice was due its reminders go out; empty: none
    SUSPEND_DAYS: int = 30  # and the service is suspended until what is overdue is paid; 0: never
    STRIPE_SECRET_KEY: str = ""  # with the next one: tenants pay invoices at Stripe's own page
    STRIPE_WEBHOOK_SECRET: str = ""  # of the endpoint PUBLIC_URL/webhooks/stripe
    STRIPE_API_URL: str = "https://api.stripe.com"
    QUOTE_MINUTES: int = 15  # how long what a quote says is promised
    LOG_FORMAT: str = ""  # json, or text; empty: text on a terminal, else json
    LOG_REQUESTS: bool = True  # a line for each request
    METRICS_TOKEN: str = ""  # who sends it may read /metrics; empty: this machine alone
    WORKERS: int = 1  # server processes; leave at 1 with SQLite
    BLOCKING_THREADS: int = 600  # threads of a worker
    ONE_CPU: bool = True  # each server process keeps to one CPU, the least busy one, since its threads take turns
    MAX_STREAMS: int = 500  # live streams a worker holds open; further pages poll
    POLL_SECONDS: float = 0.4  # how often a worker looks for changed meters
    CALL_GRANT_SECONDS: int = 1800  # what a call is granted at once unless it asks for less
    HOLD_GRACE_SECONDS: int = 120  # ringing and the way of the CDR: how long a hold outlives its grant
    RATE_LIMIT_KEY: int = 20_000  # requests of one API key within 10 seconds; 0: any number
    RATE_LIMIT_ADDRESS: int = 100  # requests without a valid key from one address within 10 seconds; 0: any number
    RETENTION_MONTHS: int = 0  # numbers of calls older than that lose their last digits; 0: they are kept
    SESSION_DAYS: int = 14  # a sign-in ends after so many days without use
    OIDC_ISSUER: str = ""  # of an OpenID Connect provider, with which staff may sign in; empty: by password alone
    OIDC_CLIENT_ID: str = ""
    OIDC_CLIENT_SECRET: str = ""  # empty: a public client, protected by PKCE alone
    OIDC_NAME: str = "single sign-on"  # what the button at the sign-in page calls it
    RUN_WORKER: bool = True  # `flask serve` starts a worker for jobs beside the server
    JOB_POLL_SECONDS: float = 1.0  # how often an idle worker looks for jobs
    JOB_LEASE_SECONDS: float = 60.0  # a job is taken up again when its worker has not finished it by then
    PUBLIC_URL: str = ""  # where links in mails lead, without a slash at the end; empty: http://HOST:PORT
    MAIL_SERVER: str = ""  # empty: mails are written as files to `mail` in the instance folder
    MAIL_PORT: int = 587
    MAIL_USERNAME: str = ""
    MAIL_PASSWORD: str = ""
    MAIL_USE_TLS: bool = True  # STARTTLS, the certificate verified
    MAIL_USE_SSL: bool = False  # TLS from the first byte, port 465
    MAIL_INVOICES: bool = True  # what is issued goes to its tenant by mail
    WEBHOOK_ALLOWED_RANGES: str = ""  # comma-separated CIDR that webhooks may go to though no public address is in it
    WEBHOOK_THREADS: int = 8  # webhooks that a worker sends at once, one of each endpoint
    MAIL_FROM: str = ""  # an address, or Name <address>; empty: no-reply at the host of PUBLIC_URL


def read_settings() -> Settings:
    """The defaults, overridden by `config.py` of the instance folder, overridden by the environment.

    Raises SystemExit with one line for a value that does not fit its type or its use.
    """
    folder = Path(os.environ.get("RINGPLAN_INSTANCE") or Settings().RINGPLAN_INSTANCE)
    chosen: dict[str, Any] = _config_file(folder / "config.py")
    for field in fields(Settings):
        if os.environ.get(field.name, "") != "":
            chosen[field.name] = _converted(field.name, os.environ[field.name])
    chosen["RINGPLAN_INSTANCE"] = str(folder.resolve())
    settings = Settings(**chosen)
    _check_databases(settings)
    _check_prefix(settings.INVOICE_PREFIX)
    _check_ranges(settings.WEBHOOK_ALLOWED_RANGES)
    _check_numbers(settings)
    return settings


def _check_databases(settings: Settings) -> None:
    """What is wrong with an address is said without it, for it may hold a password."""
    for name, url in (("DATABASE_URL", database_url(settings)), ("DATABASE_OWNER_URL", owner_url(settings))):
        if url and not _is_database(url):
            raise SystemExit(f"ringplan: {name} is no address like postgresql://user:password@host/name")


def _is_database(url: str) -> bool:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return is_file or parsed.get_backend_name() == "postgresql"


def _check_prefix(prefix: str) -> None:
    """An invoice's number stands in addresses and in names of files."""
    if "/" in prefix or not prefix.isprintable() or len(prefix) > MAX_PREFIX:
        raise SystemExit(
            f"ringplan: INVOICE_PREFIX={prefix!r} may have no slash and no control characters, "
            f"and at most {MAX_PREFIX} characters"
        )


def _check_ranges(ranges: str) -> None:
    try:
        parse_ranges(ranges)
    except ValueError as error:
        raise SystemExit(f"ringplan: WEBHOOK_ALLOWED_RANGES={ranges!r}: {error}") from None


def _check_numbers(settings: Settings) -> None:
    for name, (least, most) in BETWEEN.items():
        number = getattr(settings, name)
        if not isinstance(number, int | float) or not least <= number <= most:  # config.py may say anything
            raise SystemExit(f"ringplan: {name}={number} is not between {least} and {most}")


def _config_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    values: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), values)  # noqa: S102  the operator's own file, as Flask's from_pyfile
    return {field.name: values[field.name] for field in fields(Settings) if field.name in values}


def _converted(name: str, text: str) -> Any:
    kind = type(getattr(Settings(), name))
    try:
        if kind is bool:
            return {"0": False, "1": True, "false": False, "true": True, "no": False, "yes": True}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise SystemExit(f"ringplan: {name}={text!r} is not a valid {kind.__name__}") from None


def database_url(settings: Settings) -> str:
    """The SQLAlchemy URL: psycopg 3 for PostgreSQL, else the embedded SQLite file."""
    url = settings.DATABASE_URL
    if not url:
        return f"sqlite:///{Path(settings.RINGPLAN_INSTANCE) / 'ringplan.sqlite'}"
    return _for_sqlalchemy(url)


def owner_url(settings: Settings) -> str:
    """The SQLAlchemy URL of who owns the tables; empty: whoever reads and writes them."""
    return _for_sqlalchemy(settings.DATABASE_OWNER_URL)


def _for_sqlalchemy(url: str) -> str:
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url


def public_url(settings: Settings) -> str:
    """The address of the portal as its readers reach it, without a slash at the end."""
    return settings.PUBLIC_URL.rstrip("/") or f"http://{settings.HOST}:{settings.PORT}"


def secret_key(settings: Settings) -> str:
    """The configured key, or one made at the first start and kept readable by its owner alone."""
    if settings.SECRET_KEY:
        return settings.SECRET_KEY
    path = Path(settings.RINGPLAN_INSTANCE) / "secret_key"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(draft, path)  # of two processes that start at once, one wins and both read its key
        draft.unlink()
    return path.read_text()


def trusted_hosts(settings: Settings) -> list[str]:
    """Host names a request may carry."""
    named = [host.strip() for host in settings.TRUSTED_HOSTS.split(",") if host.strip()]
    return named or ["127.0.0.1", "localhost", "[::1]", settings.HOST]
