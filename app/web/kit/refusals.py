"""A refusal of the domain, said in the form that caused it."""

from typing import Any

from app.core.errors import DomainError
from app.web.kit.forms import Form


def add_refusal(form: Form, error: DomainError, **names: str) -> None:
    """Put the message beside the field it is about, or above the form when it is about none.

    `names` maps the domain's name of a field to the form's where they differ.
    """
    name = str(error.details.get("field", ""))
    fields: dict[str, Any] = form._fields
    field = fields.get(names.get(name, name))
    if field is None:
        form.form_errors.append(error.message)
    else:
        field.errors = [*field.errors, error.message]
