"""Roles and permissions in words."""

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.domain.accounts.roles import STAFF_ROLES, TENANT_ROLES, Permission, Role, who_may

ROLES = {
    Role.OWNER: _("Owner"),
    Role.BILLING: _("Billing"),
    Role.SUPPORT: _("Support"),
    Role.READ_ONLY: _("Read-only"),
    Role.ADMIN: _("Admin"),
    Role.MEMBER: _("Member"),
}
PERMISSIONS = {
    Permission.USE_OWN_ACCOUNT: _("Use one's own account"),
    Permission.CHANGE_SECOND_FACTOR: _("Set up one's own second factor"),
    Permission.READ_USAGE: _("See usage, calls and refusals"),
    Permission.CHANGE_USAGE: _("Reverse usage, settle the quarantine"),
    Permission.RELEASE_CALLS: _("Release calls"),
    Permission.READ_LINES: _("See lines and numbers"),
    Permission.CHANGE_LINES: _("Add and release lines and numbers"),
    Permission.READ_PLANS: _("See packages and prices"),
    Permission.CHANGE_PLANS: _("Choose, change and end a tenant's package"),
    Permission.CHANGE_CATALOG: _("Edit packages, prices and resources"),
    Permission.READ_BILLING: _("See invoices, statements and payments"),
    Permission.CHANGE_BILLING: _("Issue invoices, enter payments, set taxes"),
    Permission.PAY_INVOICES: _("Pay invoices"),
    Permission.READ_MARGIN: _("See costs and margin"),
    Permission.READ_TENANTS: _("See tenants"),
    Permission.CHANGE_TENANTS: _("Add, edit and suspend tenants"),
    Permission.CHANGE_THRESHOLDS: _("Set thresholds"),
    Permission.READ_OPERATIONS: _("See sources, quarantine, jobs and checks"),
    Permission.CHANGE_SOURCES: _("Add and edit sources"),
    Permission.RETRY_JOBS: _("Try jobs again"),
    Permission.READ_PEOPLE: _("See people and their roles"),
    Permission.CHANGE_PEOPLE: _("Invite colleagues, change their roles, close accounts"),
    Permission.CHANGE_TENANT_PEOPLE: _("The same for a tenant's people, but no roles over money that one lacks"),
    Permission.RESET_SECOND_FACTOR: _("Reset somebody's second factor, say who needs one"),
    Permission.VIEW_AS_TENANT: _("View the portal as a tenant"),
    Permission.READ_KEYS: _("See API keys"),
    Permission.CHANGE_KEYS: _("Issue and revoke API keys"),
    Permission.READ_WEBHOOKS: _("See webhooks"),
    Permission.CHANGE_WEBHOOKS: _("Set up webhooks"),
    Permission.READ_AUDIT: _("See the audit log"),
    Permission.READ_SETTINGS: _("See settings"),
    Permission.CHANGE_SETTINGS: _("Change settings"),
    Permission.EXPORT_DATA: _("Export all data of a tenant"),
    Permission.ERASE_DATA: _("Delete a person's data"),
}


def role_name(role: Role | str) -> str:
    """What the role is called, on either side."""
    return str(ROLES[Role(role)])


def permission_name(permission: Permission) -> str:
    """What the permission allows."""
    return str(PERMISSIONS[permission])


def names_of_those_who_may(permission: Permission, *, is_staff: bool) -> str:
    """The roles of this side that have the permission, as a list; empty when none has."""
    roles, having = (STAFF_ROLES if is_staff else TENANT_ROLES), who_may(permission, is_staff=is_staff)
    return ", ".join(role_name(role) for role in roles if role in having)
