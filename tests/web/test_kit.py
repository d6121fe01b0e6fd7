"""render() and redirect_to() against the headers htmx 4 sends, in an app of two blocks."""

from pathlib import Path

import pytest
from flask import Flask, url_for
from flask_babel import Babel
from flask_wtf.csrf import CSRFProtect
from jinja2 import ChoiceLoader, DictLoader

from app.web.kit import filters
from app.web.kit.paging import here
from app.web.kit.render import redirect_to, render, render_error, say

PAGE = '<html><main id="main">whole {% block rows %}<p id="rows">{{ word }}</p>{% endblock %}{% block more %}more{% endblock %}</main>'


@pytest.fixture
def client():
    app = Flask(
        "kit", template_folder="../../templates", static_folder="../../static", root_path=str(Path(__file__).parent)
    )
    app.config.update(SECRET_KEY="for these tests alone", TESTING=True)
    app.jinja_loader = ChoiceLoader([DictLoader({"page.html": PAGE}), app.jinja_loader])
    Babel(app)
    CSRFProtect(app)
    filters.init_app(app)
    app.add_url_rule("/list/<name>", "list", lambda name: render("page.html", block=("rows", "more"), word="<b>"))
    app.add_url_rule("/links", "links", lambda: {"url": here(sort="-name", after=None)})
    app.add_url_rule("/go", "go", lambda: redirect_to(url_for("links")))
    app.add_url_rule("/gone", "gone", lambda: render_error("page.html", status=404, word="gone"))
    app.add_url_rule("/said", "said", _said)
    app.add_url_rule("/login", "auth.login", lambda: "sign in")
    return app.test_client()


def _said():
    say("Saved <Acme>.", undo_url="/undo")
    return render("page.html", block="rows", word="said")


def htmx(target, kind="partial"):
    return {"HX-Request": "true", "HX-Target": target, "HX-Request-Type": kind}


def test_htmx_gets_the_block_it_is_about_to_swap(client):
    answer = client.get("/list/a", headers=htmx("tbody#rows"))
    assert answer.text == '<p id="rows">&lt;b&gt;</p>'
    assert client.get("/list/a", headers=htmx("div#more")).text == "more"


@pytest.mark.parametrize(
    "headers",
    [{}, htmx("body"), htmx("div#other"), htmx("div#main"), htmx("p#rows", "full"), {"HX-Target": "p#rows"}, htmx("#")],
)
def test_everyone_else_gets_the_whole_page(client, headers):
    assert "whole" in client.get("/list/a", headers=headers).text


def test_a_shared_cache_keeps_fragment_and_page_apart(client):
    assert {"HX-Request", "HX-Target", "HX-Request-Type"} <= set(client.get("/list/a").vary)


def test_a_browser_is_redirected_and_htmx_is_told(client):
    plain, told = client.get("/go"), client.get("/go", headers=htmx("p#rows"))
    assert (plain.status_code, plain.headers["Location"]) == (303, "/links")
    assert (told.status_code, told.headers["HX-Redirect"]) == (204, "/links")


def test_an_error_replaces_the_main_part_rather_than_the_fragment(client):
    assert "HX-Retarget" not in client.get("/gone").headers
    answer = client.get("/gone", headers=htmx("p#rows"))
    assert answer.status_code == 404
    assert (answer.headers["HX-Retarget"], answer.headers["HX-Reselect"]) == ("#main", "#main")


def test_what_is_said_travels_with_the_fragment_and_is_said_once(client):
    answer = client.get("/said", headers=htmx("p#rows")).text
    assert '<div hx-swap-oob="innerHTML:#flash">' in answer
    assert "Saved &lt;Acme&gt;." in answer
    assert 'action="/undo"' in answer
    assert 'name="csrf_token"' in answer
    assert "hx-swap-oob" not in client.get("/list/a", headers=htmx("p#rows")).text


def test_a_link_keeps_the_filters_and_forgets_the_page(client):
    assert client.get("/links?state=near&after=abc&tag=a&tag=b&_external=1").json == {
        "url": "/links?state=near&tag=a&tag=b&sort=-name"
    }


def test_an_asset_carries_the_mark_of_its_content(client):
    with client.application.test_request_context():
        assert filters.asset("app.css").startswith("/static/app.css?v=")
