"""Pages that both sides have: one set of them, which knows whose they are and where they stand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NamedTuple, TypeVar

from flask import Blueprint, Response, url_for

from app.db import db
from app.domain.tenants.models import Tenant
from app.web.kit.display import own_zone

AnyView = TypeVar("AnyView", bound=Callable[..., Response])


class Route(NamedTuple):
    """Where one page stands: what its endpoint's name ends with, its address, and how it may be asked."""

    name: str
    rule: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages about one tenant, or about the provider (None), at one place: `endpoint` is what the names of their
    addresses begin with, `arguments` what all of these addresses hold."""

    tenant_id: int | None
    endpoint: str
    arguments: dict[str, str] = field(default_factory=dict, kw_only=True)

    def url(self, page: str = "", **more: Any) -> str:
        """The address of one of them, by what its endpoint's name ends with."""
        arguments: dict[str, Any] = {**self.arguments, **more}
        return url_for(f"{self.endpoint}{page}", **arguments)


class OwnPages(Pages):
    """Pages about what an owner has, which are the same for the provider and for a tenant: the views are methods, with
    `@route` and `@needs` above them."""

    __slots__ = ()

    @property
    def tenant(self) -> Tenant | None:
        """The owner; None is the provider."""
        return None if self.tenant_id is None else db.session.get_one(Tenant, self.tenant_id)

    @property
    def layout(self) -> str:
        """The frame of its side."""
        return "layouts/provider.html" if self.tenant_id is None else "layouts/tenant.html"

    @property
    def zone(self) -> str:
        """Whose times are shown, and whose days end."""
        tenant = self.tenant
        return own_zone(tenant.timezone if tenant else "UTC")

    @classmethod
    def add_to(cls, bp: Blueprint, name: str, owner: Callable[[], int | None]) -> None:
        """Put the pages on one side, where `owner` tells whose they are as a request comes in."""

        def pages() -> OwnPages:
            return cls(owner(), f"{bp.name}.{name}")

        for view in vars(cls).values():
            if route := getattr(view, "route", None):
                bp.add_url_rule(route.rule, name + route.name, _bound(view, pages), methods=route.methods)


def route(name: str, rule: str, *methods: str) -> Callable[[AnyView], AnyView]:
    """Say where a view stands, as `@bp.get(rule)` does for a function; asked by GET unless it says otherwise."""

    def mark(view: AnyView) -> AnyView:
        view.route = Route(name, rule, methods or ("GET",))  # type: ignore[attr-defined]
        return view

    return mark


def _bound(view: Callable[..., Response], pages: Callable[[], OwnPages]) -> Callable[..., Response]:
    @wraps(view)  # and with that what it needs
    def of_the_owner(**arguments: Any) -> Response:
        return view(pages(), **arguments)

    return of_the_owner
