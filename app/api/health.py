"""For load balancers and supervisors; no key needed."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from app.api.blueprint import answer
from app.db import db


def init_app(app: Flask) -> None:
    """Register `/healthz` and `/readyz`."""
    app.add_url_rule("/healthz", "healthz", healthz)
    app.add_url_rule("/readyz", "readyz", readyz)


def healthz() -> Response:
    """The process is up; asks nobody else."""
    return answer({"status": "ok"})


def readyz() -> Response:
    """200 when the database answers and its schema is this version's, else 503 with the reason."""
    try:
        with db.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        current_app.logger.error("not ready: %s", error)
        return answer({"status": "unavailable", "reason": "database not reachable"}, 503)
    if found != _head():
        return answer({"status": "unavailable", "reason": f"schema at {found}, wanted {_head()}"}, 503)
    return answer({"status": "ok"})


def _head() -> str | None:
    config = Config()
    config.set_main_option("script_location", str(Path(current_app.root_path) / "migrations"))
    return ScriptDirectory.from_config(config).get_current_head()
