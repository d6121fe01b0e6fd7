"""Roles and permissions in words."""

from app.domain.accounts.roles import STAFF_ROLES, TENANT_ROLES, Permission, Role, who_may
from app.web.kit.i18n import gettext


def role_name(role: Role | str) -> str:
    """What the role is called, on either side."""
    return {
        Role.OWNER: gettext("Owner"),
        Role.BILLING: gettext("Billing"),
        Role.SUPPORT: gettext("Support"),
        Role.READ_ONLY: gettext("Read-only"),
        Role.ADMIN: gettext("Admin"),
        Role.MEMBER: gettext("Member"),
    }[Role(role)]


def permission_name(permission: Permission) -> str:
    """What the permission allows."""
    return {
        Permission.USE_OWN_ACCOUNT: gettext("Use one's own account"),
        Permission.CHANGE_SECOND_FACTOR: gettext("Set up one's own second factor"),
        Permission.READ_USAGE: gettext("See usage, calls and refusals"),
        Permission.CHANGE_USAGE: gettext("Reverse usage, settle the quarantine"),
        Permission.RELEASE_CALLS: gettext("Release calls"),
        Permission.READ_LINES: gettext("See lines and numbers"),
        Permission.CHANGE_LINES: gettext("Add and release lines and numbers"),
        Permission.READ_PLANS: gettext("See packages and prices"),
        Permission.CHANGE_PLANS: gettext("Choose, change and end a tenant's package"),
        Permission.CHANGE_CATALOG: gettext("Edit packages, prices and resources"),
        Permission.READ_BILLING: gettext("See invoices, statements and payments"),
        Permission.CHANGE_BILLING: gettext("Issue invoices, enter payments, set taxes"),
        Permission.PAY_INVOICES: gettext("Pay invoices"),
        Permission.READ_MARGIN: gettext("See costs and margin"),
        Permission.READ_TENANTS: gettext("See tenants"),
        Permission.CHANGE_TENANTS: gettext("Add, edit and suspend tenants"),
        Permission.CHANGE_THRESHOLDS: gettext("Set thresholds"),
        Permission.READ_OPERATIONS: gettext("See sources, quarantine, jobs and checks"),
        Permission.CHANGE_SOURCES: gettext("Add and edit sources"),
        Permission.RETRY_JOBS: gettext("Try jobs again"),
        Permission.READ_PEOPLE: gettext("See people and their roles"),
        Permission.CHANGE_PEOPLE: gettext("Invite colleagues, change their roles, close accounts"),
        Permission.CHANGE_TENANT_PEOPLE: gettext("The same for a tenant's people"),
        Permission.RESET_SECOND_FACTOR: gettext("Reset somebody's second factor, say who needs one"),
        Permission.VIEW_AS_TENANT: gettext("View the portal as a tenant"),
        Permission.READ_KEYS: gettext("See API keys"),
        Permission.CHANGE_KEYS: gettext("Issue and revoke API keys"),
        Permission.READ_WEBHOOKS: gettext("See webhooks"),
        Permission.CHANGE_WEBHOOKS: gettext("Set up webhooks"),
        Permission.READ_AUDIT: gettext("See the audit log"),
        Permission.READ_SETTINGS: gettext("See settings"),
        Permission.CHANGE_SETTINGS: gettext("Change settings"),
        Permission.EXPORT_DATA: gettext("Export all data of a tenant"),
        Permission.ERASE_DATA: gettext("Delete a person's data"),
    }[permission]


def names_of_those_who_may(permission: Permission, *, is_staff: bool) -> str:
    """The roles of this side that have the permission, as a list; empty when none has."""
    roles, having = (STAFF_ROLES if is_staff else TENANT_ROLES), who_may(permission, is_staff=is_staff)
    return ", ".join(role_name(role) for role in roles if role in having)
