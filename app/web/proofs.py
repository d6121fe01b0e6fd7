"""Proofs of identity as forms send them: what a page needs to ask for one, and how it is accepted."""

import ipaddress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, request, session
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from flask_wtf.csrf import generate_csrf  # type: ignore[import-untyped]
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import Length

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Invalid
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.factors import passkeys, service as factors, totp
from app.domain.factors.passkeys import MAX_ANSWER, Ceremony
from app.web.auth.next_page import MAX_LENGTH
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext

# What a passkey is asked for: an answer to one question is none to another.
SIGN_IN, SECOND_STEP, CONFIRM, ADD = "sign in", "second step", "confirm", "add"


class ProofForm(Form):
    """One proof is filled in; `next` is the page to go on to."""

    next = HiddenField(validators=[Length(max=MAX_LENGTH)])
    code = StringField(_("Code from your app"))
    credential = HiddenField(validators=[Length(max=MAX_ANSWER)])


class SecondForm(ProofForm):
    """After the password."""

    recovery = StringField(_("Recovery code"))


class ConfirmForm(ProofForm):
    """Who is signed in proves it again; `again` says that an act waits to be repeated."""

    password = PasswordField(_("Password"))
    again = HiddenField(validators=[Length(max=8)])


def ceremony(purpose: str) -> Ceremony | None:
    """For passkeys, in this browser and for this purpose; None where they cannot be used: at an address of numbers,
    or under another name than that of PUBLIC_URL."""
    settings: Settings = current_app.config["RINGPLAN"]
    here = urlsplit(request.host_url)
    rp_id = passkey_host()
    if not here.hostname or not rp_id or not f".{here.hostname}".endswith(f".{rp_id}"):
        return None
    generate_csrf()  # makes the session's secret where there is none yet
    return Ceremony(
        secret_key=str(current_app.secret_key),
        rp_id=rp_id,
        rp_name=settings.PRODUCT_NAME,
        origins=tuple({_origin(settings.PUBLIC_URL), _origin(request.host_url)} - {""}),
        use=f"{purpose} {session['csrf_token']}",
    )


def passkey_host() -> str:
    """The name that passkeys are bound to: that of PUBLIC_URL, else the one in the address; empty for numbers."""
    settings: Settings = current_app.config["RINGPLAN"]
    host = urlsplit(settings.PUBLIC_URL or request.host_url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


def request_options(purpose: str, account_id: int | None) -> str:
    """What the browser is asked to answer with a passkey, as JSON; empty where passkeys cannot be used."""
    where = ceremony(purpose)
    return passkeys.request_options(db.session(), where, account_id, utc_now()) if where else ""


def accept(form: ProofForm, account: Account, purpose: str) -> int | None:
    """Accept what was filled in, once; returns how many recovery codes are left where one was used.

    Raises Invalid and Throttled. Commits by itself.
    """
    filled, now, address = form.data, utc_now(), request.remote_addr or ""
    if filled["credential"]:
        accept_passkey(filled["credential"], account.id, purpose)
        return None
    if filled.get("password"):
        accounts.authenticate(db.session(), account.email, filled["password"], address=address, now=now)
        return None
    spend: Any = partial(totp.spend, code=filled["code"] or "", secret_key=str(current_app.secret_key))
    if filled.get("recovery"):
        spend = partial(factors.spend_recovery_code, code=filled["recovery"])
    left: int | None = factors.prove(
        account.id, partial(spend, account_id=account.id, now=now), address=address, now=now
    )
    return left


def accept_passkey(answer: str, account_id: int | None, purpose: str) -> int:
    """Whose passkey answered. Raises Invalid and Throttled. Commits by itself."""
    where, now = ceremony(purpose), utc_now()
    if where is None:
        raise Invalid("passkey_refused", "Passkeys cannot be used at this address.")
    spend = partial(passkeys.spend, where=where, account_id=account_id, answer=answer, now=now)
    return factors.prove(account_id, spend, address=request.remote_addr or "", now=now)


def refuse(form: ProofForm, error: Invalid) -> None:
    """Say in the form what is wrong."""
    if error.code == "wrong_code":
        field = form["recovery" if form.data.get("recovery") else "code"]
        field.errors = [gettext("This code is not right, or it was used before.")]
    elif error.code == "wrong_credentials":
        form["password"].errors = [gettext("This is not your password.")]
    elif error.code == "challenge_over":
        form.form_errors.append(gettext("That took too long. Use the passkey again."))
    else:
        form.form_errors.append(gettext("The passkey was not accepted."))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
