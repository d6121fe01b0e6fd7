"""Retention as people see it: masked numbers on pages and in files, invoices byte for byte, and the page that tells."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from app.cli.privacy import mask
from app.db import unit_of_work
from app.domain.accounts.roles import Role
from app.domain.metering.models import UsageRecord
from tests import world

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def settings(settings):
    return replace(settings, RETENTION_MONTHS=1)


def test_the_command_masks_what_pages_and_files_show_and_no_invoice(app, make, now, login):
    w = world.build(app, make, now)
    with unit_of_work() as act:
        act.execute(update(UsageRecord).values(caller="+442079460958", callee="+493012345678"))
    browser, number = login(w.people["tenant:admin"]), w.acme.ids["number"]
    document = browser.get(f"/portal/invoices/{number}.pdf").data
    assert document.startswith(b"%PDF")
    usage = ("/portal/usage?from=2026-09-01&to=2026-09-30", "/portal/usage.csv")
    assert all("0958" in browser.get(address).text for address in usage)
    told = app.test_cli_runner().invoke(mask)
    assert (told.exit_code, told.output) == (
        0,
        "before 2026-10-22: 2 records, 0 refused calls, 0 holds, 0 reports\n",
    )
    page, file = (browser.get(address).text for address in usage)
    assert "+44 20 7946 0xxx" in page and "+49 30 12345xxx" in page
    assert "+442079460xxx" in file and "+493012345xxx" in file
    assert not [text for text in (page, file) if "0958" in text or "5678" in text]
    assert browser.get(f"/portal/invoices/{number}.pdf").data == document
    seen = login(w.people["staff:read_only"]).get("/provider/privacy").text
    assert "After 1 month both numbers of a call lose their last three digits." in seen and "done" in seen


def test_nothing_is_masked_unless_it_is_set(app, make, login):
    app.config["RINGPLAN"] = replace(app.config["RINGPLAN"], RETENTION_MONTHS=0)
    told = app.test_cli_runner().invoke(mask)
    assert told.exit_code == 1 and "RETENTION_MONTHS is 0" in told.output
    seen = login(make.staff(role=Role.OWNER)).get("/provider/privacy").text
    assert "They are kept as they are." in seen and "No run yet" in seen
