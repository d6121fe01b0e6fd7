"""PDF documents set by typst from templates/documents. Data goes in as JSON: no text is ever read as markup."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import typst
from flask import Response, current_app

PAPERS = {"a4": "a4", "letter": "us-letter"}
LETTER_COUNTRIES = ("US", "CA")


def paper_for(country: str, asked: str = "") -> str:
    """`a4` or `letter`: what was asked for, else what is usual in the country (ISO 3166)."""
    if asked in PAPERS:
        return asked
    return "letter" if country in LETTER_COUNTRIES else "a4"


def pdf(
    template: str, data: dict[str, Any], *, paper: str, made_at: datetime, language: str, tagged: bool = True
) -> bytes:
    """The document as bytes, the same for the same input: its date is `made_at`, not the clock's.

    The template finds all of it under `sys.inputs`. `tagged` adds the structure that screen readers use, which
    makes a table of thousands of rows many times as large. Fonts are ours and typst's own, never the machine's.
    """
    folder = Path(str(current_app.template_folder)) / "documents"
    made: bytes = typst.compile(
        folder / template,
        root=folder,
        font_paths=[Path(current_app.static_folder or "") / "vendor"],
        ignore_system_fonts=True,
        sys_inputs={
            "data": msgspec.json.encode(data).decode(),
            "paper": PAPERS[paper],
            "date": made_at.astimezone(UTC).date().isoformat(),
            "language": language,
        },
        timestamp=int(made_at.timestamp()),
        pdf_tags=tagged,
    )
    return made


def pdf_response(content: bytes, filename: str) -> Response:
    """The document to be shown in the browser. `filename` is ours, in plain ASCII."""
    response = Response(content, mimetype="application/pdf")
    response.headers.set("Content-Disposition", "inline", filename=filename)
    response.headers["Cache-Control"] = "no-store"
    return response
