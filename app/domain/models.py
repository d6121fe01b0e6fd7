"""Every table, imported once, so that the metadata is complete."""

from app.domain.accounts import models as accounts
from app.domain.audit import models as audit
from app.domain.billing import models as billing
from app.domain.catalog import models as catalog
from app.domain.changes import models as changes
from app.domain.factors import models as factors
from app.domain.jobs import models as jobs
from app.domain.metering import models as metering
from app.domain.privacy import models as privacy
from app.domain.settings import models as settings
from app.domain.subscriptions import models as subscriptions
from app.domain.telephony import models as telephony
from app.domain.tenants import models as tenants
from app.domain.webhooks import models as webhooks

__all__ = [
    "accounts",
    "audit",
    "billing",
    "catalog",
    "changes",
    "factors",
    "jobs",
    "metering",
    "privacy",
    "settings",
    "subscriptions",
    "telephony",
    "tenants",
    "webhooks",
]
