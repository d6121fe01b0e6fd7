"""flask accounts: who may sign in. Passwords come from standard input, never from the command line."""

import click

from app.cli.kit import ACTOR, Commands, read_password
from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import STAFF_ROLES, TENANT_ROLES, Role
from app.domain.factors import service as factors
from app.domain.tenants import service as tenants

group = Commands("accounts", help="People who sign in.")


@group.command("create-staff")
@click.argument("email")
@click.option("--name", default="", help="How the person is called.")
@click.option(
    "--role", type=click.Choice([role.value for role in STAFF_ROLES]), default=Role.OWNER.value, show_default=True
)
def create_staff(email: str, name: str, role: str) -> None:
    """Add one of the provider's people; the password is read from standard input."""
    password = read_password()
    with unit_of_work() as session:
        account = accounts.create_staff(session, email, name, password, role=Role(role), actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} may sign in as staff ({account.role}).")


@group.command("create-user")
@click.argument("email")
@click.option("--tenant", "reference", required=True, help="Slug, PBX domain or account code.")
@click.option("--name", default="", help="How the person is called.")
@click.option(
    "--role", type=click.Choice([role.value for role in TENANT_ROLES]), default=Role.ADMIN.value, show_default=True
)
def create_user(email: str, reference: str, name: str, role: str) -> None:
    """Add a user of a tenant; the password is read from standard input."""
    password = read_password()
    with unit_of_work() as session:
        tenant = tenants.by_name(session, reference)
        account = accounts.create_user(
            session, tenant, email, name, password, role=Role(role), actor=ACTOR, now=utc_now()
        )
    click.echo(f"{account.email} may sign in for {tenant.name} ({account.role}).")


@group.command("set-role")
@click.argument("email")
@click.argument("role", type=click.Choice([role.value for role in Role]))
def set_role(email: str, role: str) -> None:
    """Give someone another role; provider and tenants have their own."""
    with unit_of_work() as session:
        account = accounts.by_email(session, email)
        accounts.change_role(session, account, Role(role), actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} is {role} now.")


@group.command("set-password")
@click.argument("email")
def set_password(email: str) -> None:
    """Give someone a new password, read from standard input; their sign-ins end."""
    password = read_password()
    with unit_of_work() as session:
        account = accounts.by_email(session, email)
        accounts.reset_password(session, account, password, actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} has a new password and is signed out everywhere.")


@group.command("disable")
@click.argument("email")
def disable(email: str) -> None:
    """Refuse an account from now on, also where it is signed in."""
    with unit_of_work() as session:
        account = accounts.by_email(session, email)
        accounts.disable_account(session, account, actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} can no longer sign in.")


@group.command("enable")
@click.argument("email")
def enable(email: str) -> None:
    """Let a disabled account sign in again."""
    with unit_of_work() as session:
        account = accounts.by_email(session, email)
        accounts.enable_account(session, account, actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} may sign in again.")


@group.command("reset-factor")
@click.argument("email")
def reset_factor(email: str) -> None:
    """Take away the second factor of someone who lost it; their sign-ins end, and the password alone opens again."""
    with unit_of_work() as session:
        account = accounts.by_email(session, email)
        factors.reset(session, account, actor=ACTOR, now=utc_now())
    click.echo(f"{account.email} has no second factor any more and is signed out everywhere.")
