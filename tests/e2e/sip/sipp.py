"""Both ends of a call, played by sipp: what each says and what it expects, step by step.

No Contact here names its transport: with `;transport=UDP` the B2BUA's BYE would not find its way.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"
LIMIT_SECONDS = 30
_SDP = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000"""
_EMPTY = "Content-Length: 0\n"


def expect(message: str | int, *, maybe: bool = False) -> str:
    """Wait for a request by its name or a response by its number; `maybe`: or for what comes after it."""
    kind = "response" if isinstance(message, int) else "request"
    return f'<recv {kind}="{message}" optional="{str(maybe).lower()}"/>'


def pause(seconds: float) -> str:
    return f'<pause milliseconds="{round(seconds * 1000)}"/>'


def _send(text: str, *, again: bool = False) -> str:
    repeated = ' retrans="500"' if again else ""
    return f"<send{repeated}><![CDATA[\n{text}\n]]></send>"


def _ask(method: str, transaction: int, *, in_dialog: bool = False, cseq: int = 1) -> str:
    """A request of the caller's."""
    return _send(
        f"{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n"
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-{transaction}\n"
        "From: <sip:101@[domain]>;tag=[pid]caller\n"
        f"To: <sip:[service]@[remote_ip]>{'[peer_tag_param]' if in_dialog else ''}\n"
        "Call-ID: [call_id]\n"
        f"CSeq: {cseq} {method}\n"
        "Contact: <sip:101@[local_ip]:[local_port]>\n"
        f"Max-Forwards: 70\n{_SDP if method == 'INVITE' else _EMPTY}",
        again=method in ("INVITE", "BYE"),
    )


def _say(status: str, *, body: str = _EMPTY, tag: str = "", cseq: str = "[last_CSeq:]") -> str:
    """A response of the callee's to the request that came last."""
    return _send(
        f"SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n{cseq}\n"
        f"Contact: <sip:[local_ip]:[local_port]>\n{body}",
        again=bool(tag) and not status.startswith("1"),
    )


_TAG = ";tag=[pid]callee"
_PLACED = (_ask("INVITE", 1), expect(100, maybe=True))
_ANSWERED = (*_PLACED, expect(180, maybe=True), expect(200), _ask("ACK", 2, in_dialog=True))
_RINGS = (expect("INVITE"), _say("180 Ringing", tag=_TAG), pause(0.2))  # else the answer could overtake the ringing
_REFUSED = _ask("ACK", 1, in_dialog=True)

CALLEE_ANSWERS = (
    *_RINGS, _say("200 OK", body=_SDP, tag=_TAG), expect("ACK"), expect("BYE"), _say("200 OK"),
)  # fmt: skip
CALLEE_RINGS = (
    *_RINGS, expect("CANCEL"), _say("200 OK"),
    _say("487 Request Terminated", tag=_TAG, cseq="CSeq: [last_cseq_number] INVITE"), expect("ACK"),
)  # fmt: skip
CALLER_STAYS = (*_ANSWERED, expect("BYE"), _say("200 OK"))
CALLER_IS_REFUSED = (*_PLACED, expect(403), _REFUSED)
CALLER_GIVES_UP = (
    *_PLACED, expect(180), pause(0.5), _ask("CANCEL", 1),
    expect(200, maybe=True), expect(487), _REFUSED,  # the B2BUA sends the two in no order
)  # fmt: skip


def caller_talks(seconds: float) -> tuple[str, ...]:
    """The caller hangs up after so many seconds."""
    return (*_ANSWERED, pause(seconds), _ask("BYE", 3, in_dialog=True, cseq=2), expect(200))


def free_udp_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def playing(folder: Path, name: str, steps: tuple[str, ...], port: int, *options: str) -> Iterator[None]:
    """One call's end at `port`. Once the context is left it has to have gone through its steps, no more and no less."""
    scenario, output = folder / f"{name}.xml", folder / f"{name}.out"
    scenario.write_text(f'<?xml version="1.0"?><scenario name="{name}">{"".join(steps)}</scenario>')
    with output.open("w") as out:
        process = subprocess.Popen(
            ["sipp", "-sf", str(scenario), "-i", LOOPBACK, "-p", str(port), "-mp", str(free_udp_port()), "-m", "1",
             "-nostdin", "-timeout", f"{LIMIT_SECONDS}s", "-timeout_error", "-trace_err", "-error_file",
             str(folder / f"{name}.err"), *options],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield
        assert process.wait(LIMIT_SECONDS) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()


def call(folder: Path, port: int, steps: tuple[str, ...], domain: str, callee: str) -> None:
    """Call `callee` through the B2BUA at `port`, from that domain, and wait for the end of it."""
    options = ("-s", callee, "-key", "domain", domain, f"{LOOPBACK}:{port}")
    with playing(folder, "caller", steps, free_udp_port(), *options):
        pass
