"""How a person wants to be shown numbers, dates, times and talk time."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.core.display import Display, check_display
from app.domain.accounts.models import Account
from app.domain.audit import service as audit


def display_of(session: Session, account_id: int) -> Display:
    """The person's own choice; what is empty is the tenant's."""
    account = session.get_one(Account, account_id)
    return Display(account.locale, account.timezone, account.units)


def set_display(session: Session, account_id: int, wanted: Display, *, actor: str, now: datetime) -> None:
    """Choose; the same again changes and records nothing. Raises Invalid with the field."""
    check_display(wanted)
    before, account = display_of(session, account_id), session.get_one(Account, account_id)
    if wanted == before:
        return
    account.locale, account.timezone, account.units = wanted
    changed = audit.changes(before._asdict(), wanted._asdict())
    audit.record(
        session, actor, "account.display", f"account:{account.email}", now=now, tenant_id=account.tenant_id,
        changed=changed,
    )  # fmt: skip
