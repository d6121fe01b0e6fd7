"""Values that no page offers – too long, too large, no number, no text – in every address and every form: no error."""

import pytest
from werkzeug.routing import IntegerConverter

from tests.web import test_rights
from tests.web.test_mass_assignment import Forms
from tests.web.test_rights import is_for_people, requests_of

ABSURD = ("9" * 5_000, "9" * 25, "-1", "\u00b2", "1e999999", "NaN", "\u202e\0")

settings, w = test_rights.settings, test_rights.w
browsers, nothing_lasts = test_rights.browsers, test_rights.nothing_lasts


@pytest.fixture
def sides(app, browsers):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    staff = dict.fromkeys(("provider", "account", "viewing", "auth"), browsers["staff:owner"])
    return {"tenant": browsers["tenant:admin"], **staff}


def _asked(w, app):
    return [
        asked
        for asked in requests_of(w, app.url_map)
        if is_for_people(asked.rule) and not asked.foreign and asked.rule.endpoint != "auth.logout"
    ]


@pytest.mark.databases("sqlite")
def test_a_number_that_no_database_keeps_is_the_address_of_nothing(app, w, sides, nothing_lasts):
    wrong, asked_for = [], 0
    for asked in _asked(w, app):
        _, known = app.url_map.bind("localhost").match(asked.url.partition("?")[0], asked.method)
        for name, converter in asked.rule._converters.items():
            if not isinstance(converter, IntegerConverter):
                continue
            for number in (2**63, 10**25):
                url = asked.url.replace(f"/{known[name]}", f"/{number}")
                browser = sides[asked.rule.endpoint.partition(".")[0]]
                status = browser.open(url, method=asked.method, data={"csrf_token": browser.csrf_token}).status_code
                asked_for += 1
                if status != 404:
                    wrong.append(f"{asked.method} {url}: {status}")
    assert not wrong, "\n".join(wrong)
    assert asked_for > 60


@pytest.mark.databases("sqlite")
def test_no_form_stumbles_over_what_is_typed(app, w, sides, nothing_lasts):
    forms: dict[str, dict[str, str]] = {}
    for asked in _asked(w, app):
        if asked.method == "GET":
            page = Forms()
            page.feed(sides[asked.rule.endpoint.partition(".")[0]].get(asked.url).get_data().decode(errors="replace"))
            forms |= {action or asked.url: fields for action, fields in page.found.items()}
    more = {"line": "", "quote": "", "seen": "", "listed": "", "when": "", "package": "", "text": "", "mark": ""}
    wrong, sent = [], 0
    for asked in _asked(w, app):
        browser = sides[asked.rule.endpoint.partition(".")[0]]
        own = {**more, **forms.get(asked.url, {})}
        for value in ABSURD if asked.method != "GET" else ():
            body = {**dict.fromkeys(own, value), "csrf_token": browser.csrf_token}
            status = browser.open(asked.url, method=asked.method, data=body).status_code
            sent += 1
            if status >= 500:
                wrong.append(f"{asked}: {value[:12]!r}: {status}")
    assert not wrong, "\n".join(wrong)
    assert sent > 300
