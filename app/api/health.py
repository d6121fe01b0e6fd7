"""For load balancers and supervisors; no key needed."""

from functools import lru_cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Flask, Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from app.api.blueprint import answer
from app.driver import read_once


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
        found = [row[0] for row in read_once("SELECT version_num FROM alembic_version", {})]
    except SQLAlchemyError as error:
        current_app.logger.error("not ready: %s", error)
        return answer({"status": "unavailable", "reason": "database not reachable or empty"}, 503)
    if found != [_head()]:
        return answer({"status": "unavailable", "reason": f"schema at {', '.join(found)}, wanted {_head()}"}, 503)
    return answer({"status": "ok"})


@lru_cache(maxsize=1)
def _head() -> str | None:
    """The newest revision of this version; reading the migrations costs more than the rest of the answer."""
    config = Config()
    config.set_main_option("script_location", str(Path(current_app.root_path) / "migrations"))
    return ScriptDirectory.from_config(config).get_current_head()
