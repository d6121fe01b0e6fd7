"""The shares of a limit at which people are told, as a field."""

import re
from typing import Any

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import BooleanField, Field
from wtforms.widgets import TextInput

from app.web.kit.forms import Form
from app.web.kit.i18n import gettext


class PercentsField(Field):
    """Whole percents as a list: `50, 75, 90` and `50 % 75 %` alike; empty is none."""

    widget = TextInput()

    def _value(self) -> str:
        return str(self.raw_data[0]) if self.raw_data else ", ".join(map(str, self.data or ()))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """The numbers of what was typed. Raises ValueError with words for a person."""
        words = re.split(r"[\s,;%]+", str(valuelist[0])) if valuelist else []
        if any(word and not re.fullmatch(r"[0-9]{1,4}", word) for word in words):
            raise ValueError(gettext("Enter whole percents such as 50, 75, 90, 100."))
        self.data = [int(word) for word in words if word]


class ThresholdsForm(Form):
    """When people are told."""

    thresholds = PercentsField(_("Thresholds in percent"))


class OwnMailForm(Form):
    """One person's own choice."""

    wanted = BooleanField()


class NotificationsForm(OwnMailForm, ThresholdsForm):
    """Both, for a tenant's user."""
