"""Paying online: on to the gateway's page, and what the gateway tells us afterwards."""

from flask import Flask, Response, abort, current_app, request

from app import stripe
from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import run_in_transaction
from app.domain.billing import online
from app.domain.billing.online import BadNotice, PaymentGateway
from app.web.security import csrf

MAX_NOTICE = 1_000_000


def init_app(app: Flask) -> None:
    """The gateway of the settings, and the address that it tells payments to."""
    app.extensions["payment_gateway"] = stripe.of(app.config["RINGPLAN"])
    app.add_url_rule("/webhooks/stripe", "stripe_webhook", stripe_webhook, methods=["POST"])
    csrf.exempt(stripe_webhook)  # signed by Stripe instead


def gateway() -> PaymentGateway | None:
    """Who takes payments for us; None where nobody does."""
    found: PaymentGateway | None = current_app.extensions["payment_gateway"]
    return found


def stripe_webhook() -> Response:
    """200 for what was taken or is none of ours, 400 for what Stripe did not sign: it sends again what is not 200."""
    found = gateway()
    if found is None:
        abort(404)
    if (request.content_length or 0) > MAX_NOTICE:
        abort(413)
    now = utc_now()
    try:
        notice = found.read_notice(request.get_data(), dict(request.headers), now=now)
        taken = run_in_transaction(lambda session: online.take_notice(session, found, notice, now=now))
    except BadNotice as error:
        return Response(f"{error}\n", 400, mimetype="text/plain")
    except DomainError as error:
        return Response(f"{error.code}\n", error.status, mimetype="text/plain")
    return Response("taken\n" if taken else "nothing to do\n", mimetype="text/plain")
