"""PDF documents set by typst from templates/documents. Data goes in as JSON: no text is ever read as markup."""

import io
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import typst
from flask import Response, current_app

from app import one_cpu
from app.db import db
from app.domain.settings import service as settings

PAPERS = {"a4": "a4", "letter": "us-letter"}
LETTER_COUNTRIES = ("US", "CA")
USUAL_FONTS = ("Inter", "Noto Sans Arabic", "Noto Sans Hebrew")
LAST_FONTS = ("Libertinus Serif", "DejaVu Sans Mono", "Ringplan Boxes")  # the last: a box for every character


def paper_for(country: str, asked: str = "") -> str:
    """`a4` or `letter`: what was asked for, else what is usual in the country (ISO 3166)."""
    if asked in PAPERS:
        return asked
    return "letter" if country in LETTER_COUNTRIES else "a4"


def pdf(
    template: str,
    data: dict[str, Any],
    *,
    paper: str,
    made_at: datetime,
    language: str,
    tagged: bool = True,
    attached: bytes = b"",
    logo: str = "",
) -> bytes:
    """The document as bytes, the same for the same input: its date is `made_at`, not the clock's.

    The template finds all of it under `sys.inputs`. `tagged` adds the structure that screen readers use, which
    makes a table of thousands of rows many times as large. Fonts are ours, the instance folder's and typst's own.
    It is PDF/A-3b, to which typst holds itself; the template may attach the XML of `attached`, and shows the `logo` of
    that hash.
    """
    folder = Path(str(current_app.template_folder)) / "documents"
    ours, instance = Path(current_app.static_folder or "") / "vendor", Path(current_app.instance_path) / "fonts"
    fonts, families = _fonts(ours, instance)
    with one_cpu.anywhere():
        made: bytes = typst.compile(
            folder / template,
            root=folder,
            font_paths=fonts,
            sys_inputs={
                "data": msgspec.json.encode(data).decode(),
                "paper": PAPERS[paper],
                "date": made_at.astimezone(UTC).date().isoformat(),
                "language": language,
                "fonts": families,
                "attached": attached.decode(),
                "logo": msgspec.json.encode(list(_picture(logo))).decode(),  # inputs are text: a number for each byte
            },
            timestamp=int(made_at.timestamp()),
            pdf_tags=tagged,
            pdf_standards=["a-3b"],
        )
    return made


@cache
def _fonts(ours: Path, instance: Path) -> tuple[typst.Fonts, str]:
    """What typst finds there, and the families as JSON in the order in which they are asked for a character.

    The instance's come before boxes: PDF/A refuses a document with a character that no font shows.
    """
    found = typst.Fonts(include_system_fonts=False, font_paths=[ours, instance])
    theirs = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[instance]).families()
    return found, msgspec.json.encode([*USUAL_FONTS, *sorted(theirs), *LAST_FONTS]).decode()


def _picture(logo: str) -> bytes:
    return (settings.logo(db.session(), logo) if logo else None) or b""


def as_facturx(content: bytes) -> bytes:
    """Say in the metadata of a PDF/A-3 that its attachment `factur-x.xml` is an invoice after EN 16931."""
    # They bring much along that only this needs, half a second of every start.
    from lxml import etree  # noqa: PLC0415
    from pypdf import PdfWriter  # noqa: PLC0415

    writer = PdfWriter(clone_from=io.BytesIO(content))
    writer.pdf_header = content[:8].decode()
    stream: Any = writer.root_object["/Metadata"].get_object()
    metadata = etree.fromstring(stream.get_data())
    library = (files("facturx") / "xmp" / "Factur-X_extension_schema.xmp").read_bytes()
    properties, schemas = etree.fromstring(library, etree.XMLParser(remove_comments=True))
    properties.find("{*}ConformanceLevel").text = "EN 16931"
    metadata.find(".//{*}schemas/{*}Bag").append(schemas.find("{*}schemas/{*}Bag/{*}li"))
    metadata.find("{*}RDF").append(properties)
    stream.set_data(etree.tostring(metadata.getroottree(), encoding="UTF-8"))
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def pdf_response(content: bytes, filename: str) -> Response:
    """The document to be shown in the browser."""
    return _file(content, filename, "application/pdf", "inline")


def xml_response(content: bytes, filename: str) -> Response:
    """Data to be saved."""
    return _file(content, filename, "application/xml", "attachment")


def _file(content: bytes, filename: str, mimetype: str, disposition: str) -> Response:
    response = Response(content, mimetype=mimetype)
    response.headers.set("Content-Disposition", disposition, filename=filename)
    response.headers["Cache-Control"] = "no-store"
    return response
