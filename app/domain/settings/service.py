"""Reading and changing what the provider sets for the whole installation."""

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from email.utils import parseaddr
from io import BytesIO

from PIL import Image, UnidentifiedImageError
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.core.colors import READABLE, contrast, is_color, mix
from app.core.errors import Invalid
from app.db import insert_new
from app.domain.audit import service as audit
from app.domain.settings.models import Logo, Setting
from app.driver import read_once

MAX_LOGO_BYTES = 1_000_000
MAX_LOGO_PIXELS = 25_000_000  # a small file may hold a huge picture
LOGO_SIZE = (640, 160)
# As in static/app.css: how much of the accent is in its soft tint; what an accent stands on, and what is written on it:
# card and page, then the text of a button.
SOFT_PERCENT = 12
_GROUNDS = {"accent": ("#ffffff", "#f6f7fa", "#ffffff"), "accent_dark": ("#151e34", "#0e1526", "#0e1526")}


@dataclass(frozen=True, slots=True)
class Branding:
    """What the portal is called and looks like. Empty: none, or as it comes."""

    product_name: str = "Ringplan"
    support: str = ""  # an e-mail address, or the https address of a page
    mail_from: str = ""  # an address, or Name <address>
    legal_footer: str = ""
    accent: str = ""  # #rrggbb, on light
    accent_dark: str = ""
    logo: str = ""  # hash of a Logo


NAMES = tuple(field.name for field in fields(Branding))


def read(defaults: Branding) -> Branding:
    """What was chosen, over `defaults`; one statement outside any transaction."""
    return _over(defaults, dict(read_once("SELECT name, value FROM setting", {})))


def locked(session: Session, defaults: Branding) -> Branding:
    """The same, as nobody else changes it before this transaction ends."""
    return _over(defaults, {row.name: row.value for row in session.scalars(select(Setting).with_for_update())})


def _over(defaults: Branding, chosen: dict[str, str]) -> Branding:
    return replace(defaults, **{name: chosen[name] for name in NAMES if name in chosen})


def change(session: Session, wanted: Branding, defaults: Branding, *, actor: str, now: datetime) -> bool:
    """Set all of it; False when nothing differs. Raises Invalid with the field for what cannot be."""
    check(wanted)
    before = asdict(locked(session, defaults))
    changed = {name: [before[name], value] for name, value in asdict(wanted).items() if before[name] != value}
    if not changed:
        return False
    if wanted.logo and session.get(Logo, wanted.logo) is None:
        raise Invalid("unknown_logo", "There is no such logo.", field="logo")
    session.execute(delete(Setting).where(Setting.name.in_(changed)))
    session.execute(insert(Setting), [{"name": name, "value": after} for name, (_, after) in changed.items()])
    audit.record(session, actor, "settings.change", "settings:branding", now=now, changed=changed)
    return True


def check(wanted: Branding) -> None:
    """Raises Invalid, with the field, for what cannot be."""
    if not wanted.product_name:
        raise Invalid("no_name", "The portal needs a name.", field="product_name")
    for name in ("product_name", "support", "mail_from"):
        if not getattr(wanted, name).isprintable():
            raise Invalid("not_printable", "Use letters, digits and signs that can be printed.", field=name)
    if wanted.support and not wanted.support.startswith("https://") and "@" not in parseaddr(wanted.support)[1]:
        raise Invalid(
            "bad_support", "Enter an e-mail address, or an address that begins with https://.", field="support"
        )
    if wanted.mail_from and "@" not in parseaddr(wanted.mail_from)[1]:
        raise Invalid(
            "bad_sender", "Enter an address, or a name and an address: Acme <no-reply@acme.example>.", field="mail_from"
        )
    for name in _GROUNDS:
        _check_color(name, getattr(wanted, name))


def _check_color(name: str, color: str) -> None:
    if not color:
        return
    if not is_color(color):
        raise Invalid("bad_color", "Enter a colour such as #2746c7.", field=name)
    card, page, text = _GROUNDS[name]
    least = min(contrast(color, ground) for ground in (card, page, text, mix(color, card, SOFT_PERCENT)))
    if least < READABLE:
        detail = f"Hard to read: its contrast is {int(least * 10) / 10}:1, and text needs 4.5:1."
        raise Invalid("low_contrast", detail, field=name)


def keep_logo(session: Session, content: bytes, *, now: datetime) -> str:
    """The hash of the picture as it is kept. Raises Invalid for what is no picture, or too large."""
    if len(content) > MAX_LOGO_BYTES:
        raise Invalid("too_large", "The file is larger than 1 MB.", field="logo_file")
    png = _as_png(content)
    name = hashlib.blake2b(png, digest_size=16).hexdigest()
    insert_new(session, Logo, [{"hash": name, "png": png, "created_at": now}], [Logo.hash])
    return name


def _as_png(content: bytes) -> bytes:
    """The pixels alone, small enough for the top of a page."""
    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_LOGO_PIXELS:
                raise Invalid("too_large", "The picture has more than 25 million pixels.", field="logo_file")
            drawn = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Invalid("bad_logo", "That is no PNG or JPEG picture.", field="logo_file") from None
    drawn.thumbnail(LOGO_SIZE)
    kept = BytesIO()
    drawn.save(kept, "PNG", optimize=True)
    return kept.getvalue()


def logo(session: Session, name: str) -> bytes | None:
    """The PNG of that hash."""
    return session.scalar(select(Logo.png).where(Logo.hash == name))
