"""The plain SQL of call control through the driver: what is taken is taken under its condition, a transaction a step."""

from datetime import UTC, datetime, timedelta
from itertools import count

from app.core.ids import new_id
from tests.bench import plain
from tests.bench.setting import Setting

TAKE = """
INSERT INTO meter (tenant_id, resource_code, period_on, used, on_hold, carried_in, records, version)
VALUES (?, ?, ?, ?, ?, 0, 0, 1)
ON CONFLICT (tenant_id, resource_code, period_on) DO UPDATE
SET used = meter.used + excluded.used, on_hold = meter.on_hold + excluded.on_hold, version = meter.version + 1
WHERE meter.used + meter.on_hold + excluded.used + excluded.on_hold <= ? + meter.carried_in
RETURNING used"""
FREE = """
UPDATE meter SET used = used - ?, on_hold = on_hold - ?, version = version + 1
WHERE tenant_id = ? AND resource_code = ? AND period_on = ?"""
HOLD = """
INSERT INTO hold (tenant_id, id, source_id, call_id, resource_code, period_on, granted, direction, caller, callee,
                  created_at, expires_at, ended_as)
VALUES (?, ?, ?, ?, 'voice_minutes', ?, ?, 'outbound', '101', '442079460958', ?, ?, '')"""
CHANGE = """
UPDATE hold SET granted = ?, expires_at = ?, over_at = ?
WHERE tenant_id = ? AND id = ? AND granted = ? AND over_at IS NULL AND ended_at IS NULL"""
NO_PERIOD = "1970-01-01"
MOST = 10**12


class Calls:
    """Calls of the bench's tenant, on a connection of its own."""

    def __init__(self, setting: Setting) -> None:
        writer = plain.Sqlite(setting.sqlite_path) if setting.sqlite_path else plain.Postgresql(setting.url)
        self.connection = writer.connection
        self.begin, self.mark = ("BEGIN IMMEDIATE", "?") if setting.sqlite_path else ("BEGIN", "%s")
        self.tenant_id, self.source_id, self.period_on = setting.tenant_id, setting.source_id, setting.period_on()
        self.numbers = count()

    def grant(self) -> int:
        """Both meters and the hold, in one transaction; returns the hold's id."""
        hold_id, now, until = new_id(), *self._moments()
        self._run(self.begin)
        self._take("concurrent_calls", NO_PERIOD, used=1)
        self._take("voice_minutes", self.period_on, on_hold=60)
        call_id = f"plain-{hold_id}-{next(self.numbers)}"
        self._run(HOLD, self.tenant_id, hold_id, self.source_id, call_id, self.period_on, 60, now, until)
        self._run("COMMIT")
        return hold_id

    def whole(self) -> None:
        """Grant, renew, end: three transactions."""
        hold_id, (now, until) = self.grant(), self._moments()
        self._run(self.begin)
        self._take("voice_minutes", self.period_on, on_hold=50)
        self._run(CHANGE, 110, until, None, self.tenant_id, hold_id, 60)
        self._run("COMMIT")
        self._run(self.begin)
        self._run(CHANGE, 90, until, now, self.tenant_id, hold_id, 110)
        self._run(FREE, 1, 0, self.tenant_id, "concurrent_calls", NO_PERIOD)
        self._run(FREE, 0, 20, self.tenant_id, "voice_minutes", self.period_on)
        self._run("COMMIT")

    def _take(self, resource_code: str, period_on: str, used: int = 0, on_hold: int = 0) -> None:
        if not self._run(TAKE, self.tenant_id, resource_code, period_on, used, on_hold, MOST).fetchone():
            raise SystemExit("bench: the limit was met")

    def _run(self, statement: str, *values: object):  # type: ignore[no-untyped-def]  # the cursor of either driver
        return self.connection.execute(statement.replace("?", self.mark), values)

    def _moments(self) -> tuple[str, str]:
        now = datetime.now(UTC).replace(tzinfo=None)
        return now.isoformat(" ", "microseconds"), (now + timedelta(seconds=180)).isoformat(" ", "microseconds")
