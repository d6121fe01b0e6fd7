"""What the pages of one's own account share."""

from collections.abc import Callable
from typing import Any

from flask import Response

from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit.display import own_zone
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.render import render


def show(template: str, status: int = 200, **context: Any) -> Response:
    """A page under /account, within the menu of whoever looks; `zone` is the one its times are shown in."""
    tenant = db.session.get_one(Tenant, current_user.tenant_id) if current_user.tenant_id else None
    who = {"who_name": tenant.name} if tenant else {}
    zone = own_zone(tenant.timezone if tenant else "UTC")
    return render(template, status=status, zone=zone, **who, **context)


def later(form: Form, error: Throttled, page: Callable[[int], Response]) -> Response:
    """The page of this status with the form again, which says when to come back, as the header does to machines."""
    seconds: int = error.details["retry_after"]
    form.form_errors.append(
        ngettext(
            "Too many attempts. Try again in %(num)s minute.",
            "Too many attempts. Try again in %(num)s minutes.",
            -(-seconds // 60),
        )
    )
    response = page(429)
    response.headers["Retry-After"] = str(seconds)
    return response


def password_words(error: Invalid) -> str:
    """Why a password is refused, in the reader's language."""
    return {
        "wrong_password": gettext("This is not your current password."),
        "password_too_short": gettext("Use at least 12 characters."),
        "password_is_email": gettext("Use something else than your e-mail address."),
        "password_is_common": gettext(
            "Too many people use this password, or one like it. Put three or four words together."
        ),
    }.get(error.code, error.message)
