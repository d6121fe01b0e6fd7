"""Choosing a package, as pages: what there is, what a change does and costs, and doing it. One set for both sides."""

from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, request
from sqlalchemy.orm import Session

from app import branding
from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError, NotFound
from app.core.ids import MAX_ID
from app.db import db, run_in_transaction
from app.domain.accounts import people
from app.domain.catalog import browse, service as catalog
from app.domain.catalog.models import Package
from app.domain.changes import ending, offers, quote as quotes, requests
from app.domain.changes.models import Quote
from app.domain.changes.package_move import preview_move
from app.domain.changes.quote import Effect, Outcome
from app.domain.changes.replay import cheapest, replay
from app.domain.metering import meters
from app.domain.subscriptions import life, moves, service as subscriptions, timeline
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit.i18n import gettext
from app.web.kit.limits import limits_of
from app.web.kit.pages import Pages
from app.web.kit.render import redirect_to, render, say


@dataclass(frozen=True, slots=True)
class PlanPages(Pages):
    """The pages of one tenant on one side: `endpoint` and `template` are what their names begin with."""

    tenant_id: int
    template: str
    is_staff: bool = False

    def show(self) -> Response:
        """What there is; with `package` what taking it does and costs."""
        code = request.args.get("package", "").replace("\0", "")
        return self._quote(code) if code else self._choose()

    def accept(self) -> Response:
        """Do what the quote of the page before says; a stale one comes back fresh, with what changed."""
        code = request.form.get("package", "").replace("\0", "")
        number = request.form.get("quote", 0, type=int)
        quote_id = number if 0 < number <= MAX_ID else 0
        try:
            outcome = run_in_transaction(lambda session: self._accept(session, quote_id))
        except NotFound:
            raise
        except DomainError as error:
            return self._quote(code, error=error)
        if outcome.is_stale:
            before = db.session().get(Quote, (self.tenant_id, quote_id))
            return self._page(outcome.quote, before=before, status=409)
        say(self._done_words(outcome.quote))
        return redirect_to(self.url())

    def cancel(self) -> Response:
        """Drop the change that is pending."""

        def act(session: Session) -> None:
            subscription = subscriptions.require_live(session, self._tenant(session))
            if not self.may_cancel(subscription):
                raise Conflict("ask_first", gettext("Your provider has decided this. Ask it to change that."))
            moves.cancel(session, subscription, actor=current_user.email, now=utc_now())

        run_in_transaction(act)
        say(gettext("The change is cancelled; the package stays as it is."))
        return redirect_to(self.url())

    def ask(self) -> Response:
        """Ask the provider for a package that is not the tenant's to take."""
        code, words = request.form.get("package", "").replace("\0", ""), request.form.get("words", "")

        def act(session: Session) -> str:
            package = self._package(session, code)
            edge: dict[str, Any] = {"actor": current_user.email, "now": utc_now()}
            requests.ask(session, self._tenant(session), package, _effect(request.form), words, **edge)
            return package.name

        try:
            name = run_in_transaction(act)
        except NotFound:
            raise
        except DomainError as error:
            return self._quote(code, error=error)
        say(gettext("You have asked for %(package)s. The answer will stand here.", package=name))
        return redirect_to(self.url())

    def withdraw(self) -> Response:
        """Take the request back."""

        def act(session: Session) -> None:
            found, tenant = requests.open_of(session, self.tenant_id), self._tenant(session)
            if found is not None:
                requests.close(session, tenant, found.id, "withdrawn", "", actor=current_user.email, now=utc_now())

        run_in_transaction(act)
        say(gettext("Your request is withdrawn."))
        return redirect_to(self.url())

    def end(self) -> Response:
        """What ending the subscription does, now (for staff) or with its period; a POST does it."""
        at_once = self.is_staff and request.values.get("when") == "now"
        if request.method == "POST":
            run_in_transaction(lambda session: self._end(session, at_once))
            say(gettext("The package has ended.") if at_once else gettext("The package ends with its period."))
            return redirect_to(self.url())
        session, now = db.session(), utc_now()
        tenant = self._tenant(session)
        subscription = subscriptions.require_live(session, tenant)
        self._check_may_end(subscription)
        found = ending.preview(session, subscription, branding.terms(), at_once=at_once, now=now)
        period = subscriptions.period_of(subscription, now)
        return render(
            f"{self.template}_end.html",
            block="ending",
            pages=self,
            tenant=tenant,
            subscription=subscription,
            ending=found,
            at_once=at_once,
            period=period,
        )

    def _end(self, session: Session, at_once: bool) -> None:
        tenant = self._tenant(session)
        self._check_may_end(subscriptions.require_live(session, tenant))
        act = subscriptions.end if at_once else subscriptions.end_at_period_end
        act(session, tenant, actor=current_user.email, now=utc_now())

    def _check_may_end(self, subscription: Subscription) -> None:
        if not self.is_staff and not requests.may(subscription.package, "change"):
            raise NotFound("ask_first", gettext("Ask your provider to end the package."))

    def _accept(self, session: Session, quote_id: int) -> Outcome:
        tenant, now = self._tenant(session), utc_now()
        package = quotes.get(session, tenant.id, quote_id).package
        if not self.is_staff and not self._may_take(session, package):
            raise Conflict("ask_first", gettext("%(package)s cannot be chosen here.", package=package.name))
        edge: dict[str, Any] = {"actor": current_user.email, "now": now}
        outcome = quotes.accept(session, tenant, quote_id, branding.terms(), **edge)
        asked = requests.open_of(session, tenant.id)
        if self.is_staff and not outcome.is_stale and asked is not None and asked.package_id == package.id:
            requests.close(session, tenant, asked.id, "approved", request.form.get("answer", ""), **edge)
        return outcome

    def _may_take(self, session: Session, package: Package) -> bool:
        """By itself, or because it is offered."""
        return requests.may(package, "change") or offers.is_offered(session, self.tenant_id, package)

    def _choose(self) -> Response:
        session, now = db.session(), utc_now()
        tenant = self._tenant(session)
        subscription = subscriptions.live(session, tenant.id)
        found = [each for each in browse.list_packages(session, "published") if self._is_shown(each, tenant)]
        if subscription is not None:
            interval = subscription.package.revision.interval
            found = [each for each in found if each.revision.interval == interval or self.is_staff]
            if subscription.package not in found:
                found.append(subscription.package)
        found.sort(key=lambda each: (each.revision.price_micros, each.name))
        limits = {each.id: {limit.resource_code: limit for limit in limits_of(each.revision)} for each in found}
        resources = [
            each for each in catalog.list_resources(session) if any(each.code in row for row in limits.values())
        ]
        offer = offers.open_of(session, tenant.id)
        m = meters.current(session, tenant, now=now)
        replays = replay(session, subscription, found, now=now) if subscription else {}
        held = {each.resource_code: each.used for each in m.meters if each.kind == "allocated"}
        own_first = sorted(found, key=lambda each: subscription is None or each.id != subscription.package_id)
        return render(
            f"{self.template}.html",
            pages=self,
            tenant=tenant,
            subscription=subscription,
            packages=found,
            limits=limits,
            resources=resources,
            replays=replays,
            cheapest=cheapest(own_first, replays, held),
            m=m,
            asked=requests.latest_of(session, tenant.id),
            offer=offer,
            offer_limits=limits_of(offer.package.revision) if offer else [],
            may_end=subscription is not None and (self.is_staff or requests.may(subscription.package, "change")),
            steps=timeline.of_tenant(session, tenant.id),
            trial_ends_at=life.trial_ends_at(subscription) if subscription else None,
        )

    def _is_shown(self, package: Package, tenant: Tenant) -> bool:
        return package.revision.currency == tenant.currency and (self.is_staff or package.public)

    def _quote(self, code: str, error: DomainError | None = None) -> Response:
        def act(session: Session) -> Quote:
            tenant, package = self._tenant(session), self._package(session, code)
            edge: dict[str, Any] = {"actor": current_user.email, "now": utc_now()}
            return quotes.make(session, tenant, package, _effect(request.values), branding.terms(), **edge)

        try:
            made = run_in_transaction(act)
        except Conflict as refusal:
            say((error or refusal).message, "error")
            return redirect_to(self.url())
        return self._page(made, error=error, status=error.status if error else 200)

    def _package(self, session: Session, code: str) -> Package:
        """The package of this code. Raises NotFound: to a tenant one that it may not see is as unknown as none."""
        found = catalog.find(session, code)
        if found and not self.is_staff:
            is_shown = found.public or offers.is_offered(session, self.tenant_id, found)
            found = found if is_shown and found.status != "draft" else None
        if found is None:
            raise NotFound("unknown_package", gettext("There is no such package."))
        return found

    def may_cancel(self, subscription: Subscription) -> bool:
        """Whether what is pending is the reader's to drop: to a tenant what its own people chose, and what the provider
        did where it may choose the package that it has by itself."""
        session, actor = db.session(), subscription.pending_by
        return (
            self.is_staff
            or requests.may(subscription.package, "change")
            or people.is_one_of(session, self.tenant_id, actor)
        )

    def said_by(self, actor: str) -> str:
        """Who acted, as the reader may know it: a tenant learns that the provider did, not who of its people."""
        if self.is_staff:
            return actor
        provider = current_app.config["RINGPLAN"].PROVIDER_NAME
        return people.as_told(db.session(), self.tenant_id, [actor], provider)[actor]

    def _page(
        self, quote: Quote, *, before: Quote | None = None, error: DomainError | None = None, status: int = 200
    ) -> Response:
        session, now = db.session(), utc_now()
        tenant = self._tenant(session)
        subscription = subscriptions.live(session, tenant.id)
        asked = requests.open_of(session, tenant.id)
        return render(
            f"{self.template}_confirm.html",
            block="quote",
            status=status,
            pages=self,
            tenant=tenant,
            quote=quote,
            package=quote.package,
            lines=quotes.lines_of(quote),
            impact=preview_move(session, tenant, subscription, quote.package, now=now),
            period=subscriptions.period_of(subscription, now) if subscription else None,
            changed=_differences(before, quote) if before else None,
            asked=asked if asked and asked.package_id == quote.package_id else None,
            may_change=self.is_staff or self._may_take(session, quote.package),
            may_ask=requests.may(quote.package, "ask") and asked is None,
            error=error,
        )

    def _done_words(self, quote: Quote) -> str:
        if quote.effect == "period_end":
            return gettext("%(package)s begins with the next period.", package=quote.package.name)
        return gettext("%(package)s is in force now. Its limits hold from this moment.", package=quote.package.name)

    def _tenant(self, session: Session) -> Tenant:
        return session.get_one(Tenant, self.tenant_id)


def _effect(values: Any) -> Effect:
    return "period_end" if values.get("when") == "period_end" else "now"


def _differences(before: Quote, after: Quote) -> list[dict[str, Any]]:
    """Which amounts the fresh quote has that the one before did not, in its order."""
    old, new = quotes.amounts(before), quotes.amounts(after)
    return [
        {"kind": key[0], "name": key[1], "before": old.get(key, 0), "after": new.get(key, 0)}
        for key in dict.fromkeys([*new, *old])
        if old.get(key, 0) != new.get(key, 0)
    ]
