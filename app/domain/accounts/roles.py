"""Who may do what: the one table. A view names a permission, never a role; the portal shows the table as a matrix."""

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What an account is there for. `billing` exists on both sides; which is meant follows from its tenant."""

    OWNER = "owner"
    BILLING = "billing"
    SUPPORT = "support"
    READ_ONLY = "read_only"
    ADMIN = "admin"
    MEMBER = "member"


STAFF_ROLES = (Role.OWNER, Role.BILLING, Role.SUPPORT, Role.READ_ONLY)
TENANT_ROLES = (Role.ADMIN, Role.BILLING, Role.MEMBER)


class Permission(StrEnum):
    """What a view or a part of a page asks for."""

    USE_OWN_ACCOUNT = "use_own_account"
    CHANGE_SECOND_FACTOR = "change_second_factor"
    READ_USAGE = "read_usage"
    CHANGE_USAGE = "change_usage"
    RELEASE_CALLS = "release_calls"
    READ_LINES = "read_lines"
    CHANGE_LINES = "change_lines"
    READ_PLANS = "read_plans"
    CHANGE_PLANS = "change_plans"
    CHANGE_CATALOG = "change_catalog"
    READ_BILLING = "read_billing"
    CHANGE_BILLING = "change_billing"
    PAY_INVOICES = "pay_invoices"
    READ_MARGIN = "read_margin"
    READ_TENANTS = "read_tenants"
    CHANGE_TENANTS = "change_tenants"
    CHANGE_THRESHOLDS = "change_thresholds"
    READ_OPERATIONS = "read_operations"
    CHANGE_SOURCES = "change_sources"
    RETRY_JOBS = "retry_jobs"
    READ_PEOPLE = "read_people"
    CHANGE_PEOPLE = "change_people"
    CHANGE_TENANT_PEOPLE = "change_tenant_people"
    RESET_SECOND_FACTOR = "reset_second_factor"
    VIEW_AS_TENANT = "view_as_tenant"
    READ_KEYS = "read_keys"
    CHANGE_KEYS = "change_keys"
    READ_WEBHOOKS = "read_webhooks"
    CHANGE_WEBHOOKS = "change_webhooks"
    READ_AUDIT = "read_audit"
    READ_SETTINGS = "read_settings"
    CHANGE_SETTINGS = "change_settings"
    EXPORT_DATA = "export_data"
    ERASE_DATA = "erase_data"


class Grant(NamedTuple):
    """The roles that have a permission, on either side."""

    staff: frozenset[Role]
    tenant: frozenset[Role]


def _to(staff: str = "", tenant: str = "") -> Grant:
    """The grant to the roles of these names."""
    return Grant(frozenset(map(Role, staff.split())), frozenset(map(Role, tenant.split())))


_ALL_STAFF, _ALL_TENANT = " ".join(STAFF_ROLES), " ".join(TENANT_ROLES)

TABLE: dict[Permission, Grant] = {
    Permission.USE_OWN_ACCOUNT: _to(_ALL_STAFF, _ALL_TENANT),
    Permission.CHANGE_SECOND_FACTOR: _to(_ALL_STAFF, _ALL_TENANT),
    Permission.READ_USAGE: _to(_ALL_STAFF, _ALL_TENANT),
    Permission.CHANGE_USAGE: _to("owner billing"),
    Permission.RELEASE_CALLS: _to("owner support"),
    Permission.READ_LINES: _to(_ALL_STAFF, _ALL_TENANT),
    Permission.CHANGE_LINES: _to("owner support", "admin"),
    Permission.READ_PLANS: _to(_ALL_STAFF, _ALL_TENANT),
    Permission.CHANGE_PLANS: _to("owner billing", "admin billing"),
    Permission.CHANGE_CATALOG: _to("owner billing"),
    Permission.READ_BILLING: _to(_ALL_STAFF, "admin billing"),
    Permission.CHANGE_BILLING: _to("owner billing"),
    Permission.PAY_INVOICES: _to("", "admin billing"),
    Permission.READ_MARGIN: _to(_ALL_STAFF),
    Permission.READ_TENANTS: _to(_ALL_STAFF),
    Permission.CHANGE_TENANTS: _to("owner billing support"),
    Permission.CHANGE_THRESHOLDS: _to("owner billing support", "admin billing"),
    Permission.READ_OPERATIONS: _to(_ALL_STAFF),
    Permission.CHANGE_SOURCES: _to("owner support"),
    Permission.RETRY_JOBS: _to("owner support"),
    Permission.READ_PEOPLE: _to(_ALL_STAFF, "admin"),
    Permission.CHANGE_PEOPLE: _to("owner", "admin"),
    Permission.CHANGE_TENANT_PEOPLE: _to("owner support"),
    Permission.RESET_SECOND_FACTOR: _to("owner"),
    Permission.VIEW_AS_TENANT: _to("owner support"),
    Permission.READ_KEYS: _to(_ALL_STAFF, "admin"),
    Permission.CHANGE_KEYS: _to("owner", "admin"),
    Permission.READ_WEBHOOKS: _to(_ALL_STAFF, "admin"),
    Permission.CHANGE_WEBHOOKS: _to("owner", "admin"),
    Permission.READ_AUDIT: _to(_ALL_STAFF, "admin"),
    Permission.READ_SETTINGS: _to(_ALL_STAFF, "admin"),
    Permission.CHANGE_SETTINGS: _to("owner", "admin"),
    Permission.EXPORT_DATA: _to("owner", "admin"),
    Permission.ERASE_DATA: _to("owner", "admin"),
}

# What a look at the portal as a tenant is limited to.
READING = frozenset(permission for permission in Permission if permission.startswith("read_"))

# On money, roles, keys and what opens the door to them: the person is asked again who they are.
SENSITIVE = frozenset(
    {
        Permission.CHANGE_SECOND_FACTOR,
        Permission.CHANGE_PLANS,
        Permission.CHANGE_CATALOG,
        Permission.CHANGE_BILLING,
        Permission.CHANGE_PEOPLE,
        Permission.CHANGE_TENANT_PEOPLE,
        Permission.RESET_SECOND_FACTOR,
        Permission.CHANGE_KEYS,
        Permission.CHANGE_WEBHOOKS,
        Permission.CHANGE_SETTINGS,
        Permission.EXPORT_DATA,
        Permission.ERASE_DATA,
    }
)


def who_may(permission: Permission, *, is_staff: bool) -> frozenset[Role]:
    """The roles of one side that have the permission."""
    grant = TABLE[permission]
    return grant.staff if is_staff else grant.tenant


def roles_to_give(giver: Role, *, giver_is_staff: bool, is_staff: bool) -> tuple[Role, ...]:
    """The roles of one side that somebody may give there, the one that may most first.

    Staff who change nothing about money give a tenant's people no role that does: it might be their own address.
    """
    if is_staff or not giver_is_staff or giver in TABLE[Permission.CHANGE_PLANS].staff:
        return STAFF_ROLES if is_staff else TENANT_ROLES
    money = TABLE[Permission.CHANGE_PLANS].tenant | TABLE[Permission.PAY_INVOICES].tenant
    return tuple(role for role in TENANT_ROLES if role not in money)


def fits(role: Role, *, is_staff: bool) -> bool:
    """Whether accounts of this side can have the role."""
    return role in (STAFF_ROLES if is_staff else TENANT_ROLES)
