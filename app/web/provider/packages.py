"""Packages: list, page, editor, comparison, life cycle."""

from dataclasses import replace
from typing import Any

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts.roles import Permission
from app.domain.catalog import browse, service as catalog
from app.domain.catalog.differences import differences
from app.domain.catalog.models import Package, Resource
from app.domain.catalog.specs import PackageSpec, worst_case_micros
from app.domain.changes.package_edit import LISTED, EditImpact, preview_edit, publish_previewed
from app.domain.subscriptions.listing import tenants_per_package
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.limits import limits_of
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say, wanted_block
from app.web.provider import bp
from app.web.provider.package_form import Editor
from app.web.provider.package_words import change_words

STATUSES = ("published", "draft", "archived")
MOST_COMPARED = 4
LISTED_MORE = 100  # tenants that one press lists in addition
MOST_LISTED = 1000


@bp.get("/packages")
@needs(Permission.READ_PLANS)
def packages() -> Response:
    """What is on sale, what is being drafted, what was archived; with `compare`, some of them side by side."""
    codes = [code for value in request.args.getlist("compare") for code in value.split(",") if code]
    if len(codes) > 1:
        return _comparison(codes)
    status = request.args.get("status", "")
    found = browse.list_packages(db.session(), status if status in STATUSES else "")
    return render(
        "provider/packages.html",
        packages=[(package, limits_of(package.revision)) for package in found],
        on_it=tenants_per_package(db.session()),
        counts=browse.count_by_status(db.session()),
        shown=status,
        lonely=len(codes) == 1,
    )


def _comparison(codes: list[str]) -> Response:
    found = [catalog.by_code(db.session(), code) for code in dict.fromkeys(codes[:MOST_COMPARED])]
    limits = [{limit.resource_code: limit for limit in limits_of(package.revision)} for package in found]
    resources = [each for each in catalog.list_resources(db.session()) if any(each.code in limit for limit in limits)]
    on_it = tenants_per_package(db.session())
    return render("provider/packages_compare.html", packages=found, limits=limits, resources=resources, on_it=on_it)


@bp.get("/packages/<code>")
@needs(Permission.READ_PLANS)
def package(code: str) -> Response:
    """One package: its limits, who is on it, every revision and what it changed."""
    found = catalog.by_code(db.session(), code)
    return render(
        "provider/package.html",
        package=found,
        worst=worst_case_micros(catalog.spec_of(found.revision), catalog.list_resources(db.session())),
        limits=limits_of(found.revision),
        on_it=tenants_per_package(db.session()).get(found.id, 0),
        history=_history(found),
        undoable=found.revision.number > 1 and utc_now() - found.revision.published_at <= catalog.UNDO_WITHIN,
    )


def _history(found: Package) -> list[dict[str, Any]]:
    """Revisions newest first, each with its differences from the one before it in words."""
    resources = _resources()
    revisions = catalog.revisions(db.session(), found)
    specs = [catalog.spec_of(revision) for revision in revisions]
    before: list[PackageSpec | None] = [*specs[1:], None]
    return [
        {"revision": revision, "changes": change_words(differences(old, new), resources, new.currency) if old else None}
        for revision, new, old in zip(revisions, specs, before, strict=True)
    ]


@bp.route("/packages/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_CATALOG)
def package_new() -> Response:
    """A package from nothing, as a draft or on sale at once."""
    return _create(PackageSpec("", limits=()))


@bp.get("/packages/<code>/duplicate")
@needs(Permission.CHANGE_CATALOG)
def package_duplicate(code: str) -> Response:
    """The editor for a new package that begins as a copy."""
    spec = catalog.spec_of(catalog.by_code(db.session(), code).revision)
    return _create(replace(spec, name=gettext("Copy of %(name)s", name=spec.name)))


def _create(spec: PackageSpec) -> Response:
    editor = _editor(spec)
    if request.method == "GET":
        return render("provider/package_edit.html", editor=editor, form=editor.form, package=None)
    try:
        if editor.validate():
            status = "published" if request.form.get("act") == "publish" else "draft"
            with unit_of_work() as session:
                made = catalog.create(
                    session,
                    editor.form.code.data or "",
                    editor.spec(),
                    actor=current_user.email,
                    now=utc_now(),
                    status=status,
                )
            say(_created_words(made))
            return redirect_to(url_for("provider.package", code=made.code))
    except DomainError as error:
        add_refusal(editor.form, error)
    return render("provider/package_edit.html", editor=editor, form=editor.form, package=None, status=422)


def _created_words(made: Package) -> str:
    if made.status == "published":
        return gettext("%(name)s is on sale, as revision 1.", name=made.name)
    return gettext("%(name)s is kept as a draft. Nobody can be put on it before it is published.", name=made.name)


@bp.route("/packages/<code>/edit", methods=["GET", "POST"])
@needs(Permission.CHANGE_CATALOG)
def package_edit(code: str) -> Response:
    """Change a package; typing shows what publishing would do, publishing does it for every tenant at once."""
    found = catalog.by_code(db.session(), code)
    editor = _editor(catalog.spec_of(found.revision), number=found.revision.number, status=found.status)
    act = request.form.get("act", "preview")
    if request.method == "GET":
        return _edit_page(found, editor)
    if not editor.validate():
        return _edit_page(found, editor, 200 if wanted_block() == "impact" else 422)  # half typed is no mistake
    try:
        if act == "preview":
            return _edit_page(found, editor)
        words = run_in_transaction(lambda session: _publish(session, code, editor, act))
        say(words, undo_url=_undo_url(code, int(editor.form.base.data or 0)))
        return redirect_to(url_for("provider.package", code=code))
    except DomainError as error:
        found = catalog.by_code(db.session(), code)
        if error.code == "preview_stale":
            return _edit_page(found, editor, error.status, stale=True)
        add_refusal(editor.form, error)
        return _edit_page(found, editor, error.status)


def _undo_url(code: str, before: int) -> str:
    """Where a revision of a package on sale that was published just now is taken back; nowhere if there is none."""
    now_it_is = catalog.by_code(db.session(), code)
    published = now_it_is.status == "published" and now_it_is.revision.number == before + 1
    return url_for("provider.package_undo", code=code, number=before + 1) if published else ""


@bp.post("/packages/<code>/revisions/<int(max=2147483647):number>/undo")
@needs(Permission.CHANGE_CATALOG)
def package_undo(code: str, number: int) -> Response:
    """Take a revision back within a day, by one that is equal to the one before."""

    def act(session: Session) -> int:
        found = catalog.by_code(session, code)
        return catalog.undo_publish(session, found, number, actor=current_user.email, now=utc_now()).number

    try:
        made = run_in_transaction(act)
        say(gettext("Revision %(made)s says what was before revision %(number)s.", made=made, number=number))
    except Conflict as error:
        say(error.message, "error")
    return redirect_to(url_for("provider.package", code=code))


def _publish(session: Session, code: str, editor: Editor, act: str) -> str:
    """Write the revision, put a draft on sale when that was asked for, and say what was done."""
    found, now = catalog.by_code(session, code), utc_now()
    before = found.revision.number
    if editor.form.base.data != str(before):
        raise Conflict(
            "changed_meanwhile",
            gettext(
                "Someone published revision %(number)s of this package while you were editing. Open it anew to see it.",
                number=before,
            ),
        )
    edge: dict[str, Any] = {"actor": current_user.email, "now": now}
    if found.status == "draft":  # nobody is on it
        number = catalog.publish(session, found, editor.spec(), **edge).number
    else:
        seen = request.form.get("preview", "")
        number = publish_previewed(session, found, editor.spec(), seen, **edge).number
    if act == "publish" and found.status == "draft":
        catalog.set_status(session, found, "published", actor=current_user.email, now=now)
        return gettext("%(name)s is on sale, as revision %(number)s.", name=found.name, number=number)
    if number == before:
        return gettext("Nothing was different: revision %(number)s stays.", number=number)
    if found.status == "draft":
        return gettext("Draft saved as revision %(number)s.", number=number)
    return gettext("Revision %(number)s is published. Its limits hold from this moment.", number=number)


def _edit_page(found: Package, editor: Editor, status: int = 200, *, stale: bool = False) -> Response:
    impact = _impact(found, editor)
    changes = change_words(impact.differences, _resources(), editor.currency) if impact else []
    return render(
        "provider/package_edit.html",
        block="impact",
        status=status,
        package=found,
        editor=editor,
        form=editor.form,
        impact=impact,
        stale=stale,
        more=LISTED_MORE,
        most=MOST_LISTED,
        changes=changes,
        resources=_resources(),
        on_it=tenants_per_package(db.session()).get(found.id, 0),
    )


def _impact(found: Package, editor: Editor) -> EditImpact | None:
    unread = editor.form.errors.keys() - {"loss_reason"}  # a reason is asked for beside the figures that want it
    if editor.problems or unread:
        return None
    most = min(request.form.get("listed", LISTED, type=int), MOST_LISTED)
    try:
        return preview_edit(db.session(), found, editor.spec(), now=utc_now(), most=most)
    except DomainError:
        return None  # the form says why


@bp.post("/packages/<code>/publish")
@needs(Permission.CHANGE_CATALOG)
def package_publish(code: str) -> Response:
    """Put a draft on sale, or an archived package on sale again."""
    return _set_status(code, "published", gettext("%(name)s is on sale."))


@bp.post("/packages/<code>/archive")
@needs(Permission.CHANGE_CATALOG)
def package_archive(code: str) -> Response:
    """Take a package off sale; the tenants on it keep it. Undone by restoring it."""
    undo = url_for("provider.package_publish", code=code)
    words = gettext("%(name)s is archived: it is no longer sold, and whoever has it keeps it.")
    return _set_status(code, "archived", words, undo)


def _set_status(code: str, status: str, words: str, undo_url: str = "") -> Response:
    with unit_of_work() as session:
        found = catalog.by_code(session, code)
        was_draft = found.status == "draft"
        catalog.set_status(session, found, status, actor=current_user.email, now=utc_now())
    say(words % {"name": found.name}, undo_url="" if was_draft else undo_url)
    return redirect_to(url_for("provider.package", code=code))


def _editor(spec: PackageSpec, number: int = 0, status: str = "") -> Editor:
    session = db.session()
    resources = catalog.list_resources(session)
    return Editor(resources, spec, number=number, status=status, common=browse.named_resources(session))


def _resources() -> dict[str, Resource]:
    return {resource.code: resource for resource in catalog.list_resources(db.session())}
