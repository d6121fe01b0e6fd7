"""Ringplan: sell a multi-tenant PBX as packages. `create_app()` is the one place where the parts meet."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter, Map

from app import wall
from app.bodies import PortalRequest
from app.config import Settings, database_url, read_settings, secret_key, trusted_hosts
from app.core.ids import MAX_ID
from app.db import db, init_engine
from app.driver import READS

PACKAGE = Path(__file__).parent


class Id(IntegerConverter):
    """A number of an address, as the database keeps them: a longer one is the address of nothing."""

    def __init__(self, map: Map, **chosen: Any) -> None:
        super().__init__(map, **{"max": MAX_ID, **chosen})


class Portal(Flask):
    """Flask without asynchronous views: asking at every call whether one is cost some 3 % of a short answer."""

    request_class = PortalRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


def create_app(settings: Settings | None = None, **overrides: Any) -> Flask:
    """The portal, ready to serve. Raises SystemExit with one line when its folder cannot be written."""
    settings = settings or read_settings()
    app = Portal(
        "app",
        instance_path=settings.RINGPLAN_INSTANCE,
        template_folder=str(_beside_package("templates")),
        static_folder=str(_beside_package("static")),
    )
    _prepare_instance(Path(settings.RINGPLAN_INSTANCE))
    app.url_map.converters["int"] = Id
    app.config.from_mapping(_flask_config(settings), **overrides)
    if settings.BEHIND_PROXY:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    _init_database(app)
    _register(app)
    return app


def _beside_package(name: str) -> Path:
    """`templates` and `static` stand beside the package in a checkout and inside it in a wheel."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def _prepare_instance(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"ringplan: cannot create the instance folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SystemExit(f"ringplan: the instance folder {folder} is not writable")


def _flask_config(settings: Settings) -> dict[str, Any]:
    url = database_url(settings)
    # What a statement was given stays out of its errors, and so out of the log.
    pool: dict[str, Any] = {"pool_size": 20, "max_overflow": 40, "pool_timeout": 30, "hide_parameters": True}
    pool["pool_use_lifo"] = True  # each of SQLite's connections keeps up to 32 MB: as few of them as will do
    return {
        "RINGPLAN": settings,
        "SECRET_KEY": secret_key(settings),
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": pool,
        "SQLALCHEMY_BINDS": {
            # More than `app.driver` keeps at hand: the others wait for the pool.
            READS: {**pool, "url": url, "isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
        },
        "TRUSTED_HOSTS": trusted_hosts(settings),
        "MAX_CONTENT_LENGTH": 10_000_000,
        "MAX_FORM_MEMORY_SIZE": 2_000_000,  # of fields, which take time to read; files may be longer
        "SESSION_COOKIE_NAME": "ringplan",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.HOST not in ("127.0.0.1", "localhost", "::1"),
        "PERMANENT_SESSION_LIFETIME": timedelta(days=settings.SESSION_DAYS),
        "WTF_CSRF_TIME_LIMIT": None,  # the token lives as long as the session it is bound to
        "BABEL_DEFAULT_LOCALE": "en",
    }


def _init_database(app: Flask) -> None:
    from app.domain import models  # noqa: F401, PLC0415  the metadata must be complete before anyone asks for it

    db.init_app(app)
    Migrate(app, db, directory=str(PACKAGE / "migrations"), render_as_batch=True)
    with app.app_context():
        for engine in db.engines.values():
            init_engine(engine)
            wall.init_engine(engine)


def _register(app: Flask) -> None:
    from app import api, branding, cli, intake, log, mail, metrics, web  # noqa: PLC0415  the edges import the app's parts, not the other way round

    for part in (log, metrics, branding, mail, intake, web, api, cli):
        part.init_app(app)
