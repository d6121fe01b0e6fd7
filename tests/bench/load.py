"""Load by wrk with 16 connections: how many requests a second, at what CPU of the server, how long they waited."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.bench.servers import Server

SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))

_DONE = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\nresult {"requests":%d,"micros":%d,"failed":%d,"median":%d,"worst":%d}\\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency.max))
end"""
# Names that no request had before: `fresh()` in each of wrk's threads.
_FRESH = """
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args) math.randomseed({seed} + number); counter = 0; run = math.random(1, 1e9) end
local function fresh() counter = counter + 1; return run .. "-" .. number .. "-" .. counter end
local function post(path, body)
  return wrk.format("POST", path, {{["Content-Type"]="application/json", ["Authorization"]="Bearer {key}"}}, body)
end"""
_EVENT = """
function request()
  local id = fresh()
  return post("/api/v1/usage", '{{"id":"s-' .. id .. '","tenant":"' .. {tenant} ..
    '","resource":"voice_minutes","quantity":7,"occurred_at":"{moment}",' ..
    '"attributes":{{"from":"101","to":"442079460958","direction":"outbound"}}}}')
end"""
_AUTHORIZE = """
local function authorize()
  return post("/api/v1/calls/authorize",
    '{"tenant":"acme","call_id":"c-' .. fresh() .. '","caller":"101","callee":"442079460958","seconds":60}')
end"""
# What an answer asks for is put into `due`; a call is authorised when nothing is due.
_WHOLE_CALLS = """
local due, renewed = {}, {}
function request()
  local step = table.remove(due)
  if step then return post(step[1], step[2]) end
  return authorize()
end
function response(status, headers, body)
  local hold = body:match('"hold":"([%w_]+)"')
  if body:find('"ended"') then renewed[hold] = nil
  elseif renewed[hold] then table.insert(due, {"/api/v1/calls/end", '{"hold":"' .. hold .. '","seconds":90}'})
  else
    renewed[hold] = true
    table.insert(due, {"/api/v1/calls/renew", '{"hold":"' .. hold .. '","seconds_used":50}'})
  end
end"""
BARE_POST = """
function request() return wrk.format("POST", "/", {["Content-Type"]="application/json"}, string.rep("x", 200)) end"""


@dataclass(frozen=True)
class Load:
    """Requests a second, CPU microseconds of the server for each, and the waits in milliseconds."""

    rate: float
    cpu: float
    median: float
    worst: float


def single_events(key: str, tenant: str = "'acme'") -> str:
    """Posts a fresh event a request, to the tenant that the Lua expression gives."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return _fresh(key) + _EVENT.format(tenant=tenant, moment=moment)


def authorisations(key: str) -> str:
    """Authorises a fresh call a request."""
    return _fresh(key) + _AUTHORIZE + "\nfunction request() return authorize() end"


def whole_calls(key: str) -> str:
    """Authorises, renews and ends calls, a request each."""
    return _fresh(key) + _AUTHORIZE + _WHOLE_CALLS


def measure(server: Server, path: str = "/", *, headers: dict[str, str] | None = None, script: str = "") -> Load:
    """What the server does for SECONDS, after a second to warm up."""
    _wrk(server.base + path, 1, headers or {}, script)
    before = server.cpu_seconds()
    found = _wrk(server.base + path, SECONDS, headers or {}, script)
    cpu = (server.cpu_seconds() - before) / found["requests"] * 1e6
    return Load(found["requests"] / found["micros"] * 1e6, cpu, found["median"] / 1000, found["worst"] / 1000)


def warm_up(server: Server, script: str) -> None:
    """A second of it, not measured."""
    _wrk(server.base + "/", 1, {}, script)


def alone(act: Callable[[], object]) -> Load:
    """The same of `act`, done again and again in this process."""
    act()
    waits: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()
    while (now := time.perf_counter()) - started < SECONDS:
        act()
        waits.append((time.perf_counter() - now) * 1000)
    cpu, passed = time.process_time() - cpu, time.perf_counter() - started
    return Load(len(waits) / passed, cpu / len(waits) * 1e6, sorted(waits)[len(waits) // 2], max(waits))


def _fresh(key: str) -> str:
    return _FRESH.format(key=key, seed=time.time_ns() // 1_000_000 % 2**31)


def _wrk(url: str, seconds: float, headers: dict[str, str], script: str) -> dict[str, int]:
    command = ["wrk", "-t2", "-c16", f"-d{seconds:.0f}s", "--timeout", "60s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + _DONE)
        file.flush()
        report = subprocess.run([*command, "-s", file.name, url], capture_output=True, text=True, check=True).stdout
    found: dict[str, int] = json.loads(report.split("\nresult ")[1])
    if found["failed"]:
        raise SystemExit(f"bench: {url}: {report}")
    return found
