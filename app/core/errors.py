"""What can be refused, as kinds with a stable reason code; the edge maps kinds to status codes."""

from typing import Any


class DomainError(Exception):
    """A refusal: `code` is stable and for machines, `message` is a sentence for people."""

    status = 422

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class Invalid(DomainError):
    """The input breaks a rule; `field` names where. `details["field"]` is the form field or JSON pointer."""


class NotFound(DomainError):
    """What was asked for does not exist for the one who asks."""

    status = 404


class Conflict(DomainError):
    """The act does not fit the present state."""

    status = 409


class Throttled(DomainError):
    """Too many attempts; `details["retry_after"]` is in seconds."""

    status = 429
