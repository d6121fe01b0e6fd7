"""The installation's name, words, logo and colours: set on a page, shown on all, refused where nobody could read them."""

import re
from io import BytesIO

import pytest
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import func, select

from app import branding, mail
from app.core.colors import contrast, mix
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.domain.billing import service as billing
from app.domain.billing.terms import Terms
from app.domain.settings import service as settings
from app.domain.settings.models import Logo, Setting
from app.domain.settings.service import Branding, change
from tests import world
from tests.conftest import NOW
from tests.server import ROOT

PAGE = "/provider/settings"
FILLED = {
    "product_name": "Callwise",
    "support": "help@callwise.example",
    "mail_from": "Callwise <post@callwise.example>",
    "legal_footer": "Callwise GmbH\nHRB 1234",
    "accent": "#0B6E4F",
    "accent_dark": "#6fd3a8",
}


@pytest.fixture
def owner(app, make):
    browser = app.test_client()
    browser.sign_in(make.staff().email)
    return browser


def picture(kind="PNG", size=(900, 300), color="#0b6e4f") -> bytes:
    kept = BytesIO()
    Image.new("RGB", size, color).save(kept, kind)
    return kept.getvalue()


def test_what_is_saved_shows_on_pages_in_mails_and_in_the_audit(app, owner, make):
    assert owner.submit(PAGE, FILLED).status_code == 303
    shown = owner.get("/provider").text
    assert "· Callwise</title>" in shown and "HRB 1234" in shown
    assert 'href="mailto:help@callwise.example"' in shown
    assert "Callwise</title>" in app.test_client().get("/login").text
    with app.test_request_context():
        assert mail._sender() == ("Callwise", "post@callwise.example")
        words = mail.words("you@acme.example", "account_password", email="you@acme.example")
    assert words["subject"] == "Your password for Callwise was changed"
    assert words["body"].endswith("\n-- \nhelp@callwise.example\nCallwise GmbH\nHRB 1234\n")
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "settings.change")).one()
    assert entry.details["changed"]["product_name"] == ["Ringplan", "Callwise"]
    assert entry.details["changed"]["accent"] == ["", "#0b6e4f"]


def test_saving_the_same_again_changes_nothing(owner):
    for _ in range(2):
        owner.submit(PAGE, FILLED)
    assert db.session.scalar(select(func.count()).where(AuditEntry.act == "settings.change")) == 1


@pytest.mark.databases("sqlite")
def test_colours_come_as_a_style_sheet_of_their_own(app, owner):
    assert "/brand/" not in owner.get("/provider").text
    owner.submit(PAGE, FILLED)
    address = re.search(r'href="(/brand/\w{32}\.css)"', app.test_client().get("/login").text)[1]
    sheet = app.test_client().get(address)
    assert sheet.mimetype == "text/css" and "immutable" in sheet.headers["Cache-Control"]
    assert "--rp-accent-on-light: #0b6e4f;" in sheet.text and "--rp-accent-on-dark: #6fd3a8;" in sheet.text
    assert app.test_client().get("/brand/" + "0" * 32 + ".css").status_code == 404


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("accent", "#8fa5ff", "its contrast is 2.1:1"),
        ("accent", "#777777", "4.5:1"),
        ("accent_dark", "#2746c7", "4.5:1"),
        ("accent", "red", "such as #2746c7"),
        ("accent", "#12345; }", "such as #2746c7"),
        ("product_name", "", "needs a name"),
        ("product_name", "x" * 61, "60"),
        ("support", "nowhere", "https://"),
        ("support", "javascript:alert(1)", "https://"),
        ("mail_from", "nobody", "no-reply@acme.example"),
        ("mail_from", "a@b.example\nBcc: c@d.example", "can be printed"),
        ("legal_footer", "x" * 2_001, "2000"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field_and_kept_typed(owner, field, value, said):
    answer = owner.submit(PAGE, {**FILLED, field: value})
    assert answer.status_code == 422
    problem = re.search(rf'id="{field}-error">([^<]*)<', answer.text)
    assert problem and said in problem[1], answer.text
    assert db.session.scalar(select(func.count()).select_from(Setting)) == 0


@pytest.mark.databases("sqlite")
def test_a_logo_is_drawn_anew_and_shown_everywhere(app, owner):
    owner.submit(PAGE, {**FILLED, "logo_file": (BytesIO(picture("JPEG")), "logo.jpg")})
    shown = app.test_client().get("/login").text
    address = re.search(r'src="(/brand/\w{32}\.png)"', shown)[1]
    answer = app.test_client().get(address)
    assert answer.mimetype == "image/png" and "immutable" in answer.headers["Cache-Control"]
    with Image.open(BytesIO(answer.data)) as kept:
        assert (kept.format, kept.size) == ("PNG", (480, 160))
    owner.submit(PAGE, FILLED)
    assert address in app.test_client().get("/login").text  # saving the rest leaves it
    owner.submit(PAGE, {**FILLED, "no_logo": "y"})
    assert address not in app.test_client().get("/login").text
    assert app.test_client().get(address).status_code == 200  # what was issued with it still shows it


def _huge() -> bytes:
    kept = BytesIO()
    Image.new("1", (6_000, 6_000)).save(kept, "PNG", optimize=True)
    return kept.getvalue()


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        picture()[:60],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"x" * 400_001,
        _huge(),
    ],
    ids=["gif", "svg", "cut", "head alone", "too large", "36 million pixels"],
)
def test_what_is_no_small_picture_is_refused(owner, content, monkeypatch):
    monkeypatch.setattr(settings, "MAX_LOGO_BYTES", 400_000)
    answer = owner.submit(PAGE, {**FILLED, "logo_file": (BytesIO(content), "logo.png")})
    assert answer.status_code == 422 and 'id="logo_file-error"' in answer.text
    assert db.session.scalar(select(func.count()).select_from(Logo)) == 0


@pytest.mark.databases("sqlite")
def test_others_of_the_staff_look_and_cannot_save(app, make, owner):
    support = app.test_client()
    support.sign_in(make.staff(role=Role.SUPPORT).email)
    page = support.get(PAGE)
    assert page.status_code == 200 and "<fieldset disabled>" in page.text
    assert support.submit(PAGE, FILLED).status_code == 403
    uma = app.test_client()
    uma.sign_in(make.user(make.tenant("Acme")).email)
    assert uma.get(PAGE).status_code == 404


def test_another_process_shows_it_within_seconds(app, monkeypatch):
    assert branding.current().product_name == "Ringplan"
    wanted = Branding(product_name="Callwise")
    run_in_transaction(lambda act: change(act, wanted, branding.defaults(), actor="another", now=NOW))
    assert branding.current().product_name == "Ringplan"
    monkeypatch.setattr(branding, "FRESH_SECONDS", 0)  # as if they had passed
    assert branding.current() == wanted


def test_colours_are_checked_on_the_grounds_of_the_style_sheet():
    sheet = (ROOT / "static" / "app.css").read_text()
    for token, on_light, on_dark in zip(("card", "page", "on-accent"), *settings._GROUNDS.values(), strict=True):
        assert f"--rp-{token}: light-dark({on_light}, {on_dark});" in sheet
    assert f"color-mix(in srgb, var(--rp-accent) {settings.SOFT_PERCENT}%, var(--rp-card))" in sheet


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert contrast("#abcdef", "#abcdef") == 1
    assert (mix("#000000", "#ffffff", 50), mix("#2746c7", "#ffffff", 100)) == ("#808080", "#2746c7")


def pictures_in(answer) -> list[tuple[int, int]]:
    assert answer.mimetype == "application/pdf"
    return [image.image.size for page in PdfReader(BytesIO(answer.data)).pages for image in page.images]


def test_an_issued_invoice_keeps_the_logo_that_it_was_issued_with(app, make, login, now):
    w = world.build(app, make, now)
    owner, office = login(w.people["staff:owner"]), login(w.people["tenant:admin"])
    plain = f"/portal/invoices/{w.acme.ids['number']}"
    printed = office.get(f"{plain}.pdf").data
    owner.submit(PAGE, {**FILLED, "logo_file": (BytesIO(picture(size=(320, 80))), "logo.png")})
    with unit_of_work() as act:
        terms = Terms.of(app.config["RINGPLAN"], branding.current().logo)
        draft = billing.get(act, w.acme.tenant.id, w.acme.ids["draft_id"])
        billing.refresh(act, draft, terms)
        billing.finalise(act, draft, terms, actor="nora", now=now)
    later = f"/portal/invoices/{draft.number}"
    assert pictures_in(office.get(f"{later}.pdf")) == [(320, 80)]
    with_logo = office.get(f"{later}.pdf").data
    assert branding.current().logo in office.get(later).text
    assert pictures_in(office.get("/portal/statements/2026-09-01.pdf")) == [(320, 80)]

    owner.submit(PAGE, {**FILLED, "logo_file": (BytesIO(picture(size=(100, 100))), "logo.png")})
    assert office.get(f"{later}.pdf").data == with_logo
    assert office.get(f"{plain}.pdf").data == printed
    assert pictures_in(office.get("/portal/statements/2026-09-01.pdf")) == [(100, 100)]
