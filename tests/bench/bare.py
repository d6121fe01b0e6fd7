"""The least a Flask page can cost on the same server: what the portal's pages are compared with."""

from flask import Flask, request


def create_app() -> Flask:
    """One page and one POST that do nothing."""
    app = Flask("bare")

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.post("/")
    def echo() -> str:
        return str(len(request.get_data()))

    return app
