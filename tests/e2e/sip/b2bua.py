"""A B2BUA of Sippy's that asks Ringplan about every call: `b2bua.py PORT NEXT_HOP_PORT PORTAL_URL API_KEY`.

It cuts a call where its grant ends, reports what was talked and gives back what was not. It prints `ready` once it
listens. The tenant is the host of the caller's From, as in a PBX with a domain for each tenant.
"""

import math
import sys
from datetime import UTC, datetime
from typing import Any

import requests
from sippy.CCEvents import CCEventDisconnect, CCEventFail, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.SipLogger import SipLogger
from sippy.SipTransactionManager import SipTransactionManager
from sippy.Time.MonoTime import MonoTime
from sippy.Time.Timeout import TimeoutAbsMono
from sippy.UA import UA

LOOPBACK = "127.0.0.1"
RENEW_BEFORE = 1.0  # seconds before the grant ends


class Portal:
    """The three questions and reports of a call, and the CDR."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """What the portal answers. Raises requests.RequestException where it does not."""
        answer = self.session.post(f"{self.url}/api/v1/{path}", json=body, timeout=5)
        answer.raise_for_status()
        return dict(answer.json())


class Bridge:
    """One call: the leg that came in, the leg that goes out, and what is between them."""

    def __init__(self, settings: dict[str, Any], portal: Portal, tenant: str) -> None:
        self.settings, self.portal, self.tenant = settings, portal, tenant
        self.incoming, self.outgoing = UA(settings, self.pass_on), None
        self.call: dict[str, str] = {}
        self.granted = 0  # seconds since the answer
        self.started_at = datetime.now(UTC)
        self.over = False

    def pass_on(self, event: Any, leg: UA) -> None:
        """What happens on one leg happens on the other."""
        if leg is self.outgoing:
            self.incoming.recvEvent(event)
        elif self.outgoing is not None:
            self.outgoing.recvEvent(event)
        elif isinstance(event, CCEventTry):
            self.place(event)
        else:
            self.incoming.recvEvent(CCEventDisconnect())

    def place(self, event: Any) -> None:
        """Ring the other side, for as long as the portal grants; without its yes there is no call."""
        call_id, caller, callee, *_ = event.getData()
        try:
            answer = self.portal.post(
                "calls/authorize", tenant=self.tenant, call_id=str(call_id), caller=caller, callee=callee
            )
        except requests.RequestException:
            self.incoming.recvEvent(CCEventFail((503, "Service Unavailable")))
            return
        if not answer["allowed"]:
            self.incoming.recvEvent(CCEventFail((403, answer["reason"])))
            return
        self.call = {"from": caller, "to": callee, "call_id": str(call_id), "hold": answer["hold"]}
        self.granted = answer["seconds"]
        self.outgoing = UA(
            self.settings, self.pass_on, nh_address=self.settings["next_hop"], credit_time=self.granted,
            conn_cbs=(self.renew_in_time,), disc_cbs=(self.end,), fail_cbs=(self.end,),
        )  # fmt: skip
        self.outgoing.recvEvent(event)

    def renew_in_time(self, leg: UA, *_: Any) -> None:
        """Ask for more shortly before the grant ends."""
        at = leg.connect_ts.getOffsetCopy(self.granted - RENEW_BEFORE)
        TimeoutAbsMono(self.renew, at, leg)

    def renew(self, leg: UA) -> None:
        """More seconds where there are some; else the call ends where it would have ended."""
        if self.over:
            return
        talked = math.ceil(leg.getAcct()[0])
        answer = self.portal.post("calls/renew", hold=self.call["hold"], seconds_used=talked)
        if not answer["allowed"]:
            return
        self.granted = talked + answer["seconds"]
        leg.resetCreditTime(MonoTime(), {0: leg.connect_ts.getOffsetCopy(self.granted)})
        self.renew_in_time(leg)

    def end(self, leg: UA, *_: Any) -> None:
        """Report what was talked, or give the hold back where nobody answered."""
        if self.over:
            return
        self.over = True
        talked, _waited, answered, _ended = leg.getAcct()
        if not answered:
            self.portal.post("calls/end", hold=self.call["hold"], seconds=0)
            return
        self.portal.post(
            "usage", id=self.call["call_id"], tenant=self.tenant, resource="voice_minutes",
            quantity=math.floor(talked + 0.5), occurred_at=self.started_at.isoformat(),
            attributes={**self.call, "direction": "outbound"},
        )  # fmt: skip


def main(port: int, next_hop_port: int, url: str, key: str) -> None:
    """Serve calls until the process is killed."""
    settings: dict[str, Any] = {
        "_sip_address": LOOPBACK,
        "_sip_port": port,
        "_sip_logger": SipLogger("b2bua"),
        "next_hop": (LOOPBACK, next_hop_port),
    }
    portal = Portal(url, key)

    def answer(request: Any, transaction: Any) -> Any:
        if request.getHFBody("to").getTag() is not None:
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        if request.getMethod() != "INVITE":
            return request.genResponse(501, "Not Implemented"), None, None
        bridge = Bridge(settings, portal, request.getHFBody("from").getUrl().host)
        return bridge.incoming.recvRequest(request, transaction)

    settings["_sip_tm"] = SipTransactionManager(settings, answer)
    print("ready", flush=True)
    ED2.loop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
