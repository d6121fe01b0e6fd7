"""The least a Flask page can cost on the same server: what the portal's pages are compared with."""

import os

from flask import Flask, request

from app import one_cpu


def create_app() -> Flask:
    """One page and one POST that do nothing."""
    app = Flask("bare")

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.post("/")
    def echo() -> str:
        return str(len(request.get_data()))

    if os.environ["ONE_CPU"] == "1":
        one_cpu.keep()
    return app
