"""Bad input through a real agent: each gets a typed, helpful error; the agent stays up and its memory bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import msgpack
import pytest
import zmq

import jackstay
from e2e_bot import HOST, client_for, place, release, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.codec import HEADER_BYTES, decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import ExchangeError, Outcome, Refused, TradingBotError, ValidationError
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX, TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Beat, Done, Hello, Refusal, Request, Welcome

LIMITS = (
    "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n[errors.breakers.api_calls]\nfailure_threshold = 1000\n"
)
SMALL = "[connections]\nbody_bytes_max = 1000000\n"


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    closed = '"refused.test" = "http://127.0.0.1:1"\n'
    tls = f'"tls.test" = "{sandbox.url.replace("http:", "https:")}"\n'
    with AgentProcess(routed(sandbox.url, closed + tls + LIMITS + SMALL)) as running:
        yield running


@pytest.fixture(autouse=True)
def _agent_stays_up_and_small(agent: AgentProcess) -> Iterator[None]:
    before = agent.rss_mb()
    yield
    assert agent.status()["state"] == "running"
    assert agent.status()["requests"]["broken"] == 0
    assert agent.rss_mb() < before + 40


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("no scheme at all", "bad_request"),
        ("ftp://api.binance.com/x", "bad_request"),
        ("https:///x", "bad_request"),
        ("https://user:pw@api.binance.com/x", "bad_request"),
        ("https://api.binance.com:0/x", "bad_request"),
        ("https://api.binance.com/ümlaut", "bad_request"),
        ("https://api.binance.com/" + "x" * 20_000, "too_large"),
    ],
)
def test_a_bad_url_is_refused_with_its_reason(agent: AgentProcess, url: str, reason: str) -> None:
    """Nothing is dialled; the message says what was found and what is expected."""
    with client_for(agent) as client, pytest.raises(ValidationError) as caught:
        client.request("GET", url, deadline_s=2)
    assert caught.value.reason in (reason, "bad_request", "too_large")
    assert str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason", "word"),
    [
        ("https://no-such-name.invalid/x", "dns", "no-such-name.invalid"),
        ("https://refused.test/x", "refused", "refused"),
        ("https://tls.test/x", "tls", "TLS"),
    ],
)
def test_a_way_that_does_not_exist_fails_at_once_and_unsent(
    agent: AgentProcess, url: str, reason: str, word: str
) -> None:
    """Names, ports and TLS: the failure names the step, and that nothing was sent."""
    began = time.monotonic()
    with client_for(agent) as client, pytest.raises(ExchangeError) as caught:
        client.request("POST", url, body=b"order", deadline_s=8)
    assert caught.value.reason == reason
    assert caught.value.outcome is Outcome.FAILED
    assert word in str(caught.value)
    assert time.monotonic() - began < 7


@pytest.mark.parametrize(
    ("kind", "params", "reasons"),
    [
        ("endless_headers", {}, {"response_too_large"}),
        ("endless_body", {}, {"response_too_large"}),
        ("oversize", {"bytes": 20_000_000}, {"response_too_large"}),
        ("truncate", {}, {"protocol"}),
        ("stall", {}, {"timeout"}),
        ("drop_reply", {}, {"timeout"}),
        ("drip", {"delay_ms": 300.0}, {"timeout"}),
        ("reset_before", {}, {"reset"}),
        ("reset_after", {}, {"reset"}),
    ],
)
def test_a_hostile_answer_leaves_an_order_unknown(
    sandbox: SandboxProcess, agent: AgentProcess, kind: str, params: dict[str, object], reasons: set[str]
) -> None:
    """Endless, oversize, cut off, silent, slow: typed, within the deadline, outcome unknown; the next order works."""
    sandbox.admin.fault(kind, route="POST /api/v3/order", count=1, **params)
    with client_for(agent) as client:
        began = time.monotonic()
        with pytest.raises(TradingBotError) as caught:
            place(client, sandbox, f"hostile-{kind}", deadline_s=1.5)
        assert time.monotonic() - began < 2.5
        assert caught.value.reason in reasons
        assert caught.value.outcome is Outcome.UNKNOWN
        sandbox.admin.clear()
        assert release(agent) == [f"hostile-{kind}"], "unknown until somebody who looked says so"
        assert place(client, sandbox, f"after-{kind}").status == 200
    arrived = [row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")]
    assert arrived.count(f"hostile-{kind}") == 1


def test_a_second_primary_of_a_living_bot_is_refused(agent: AgentProcess) -> None:
    """Another process cannot speak for the same bot; the message says what to do."""
    script = (
        "import jackstay\n"
        f"client = jackstay.Client({agent.name!r}, runtime_dir={str(agent.runtime_dir)!r}, bot_id='twin')\n"
        "try:\n    client.status()\nexcept jackstay.SecurityError as error:\n    print(error.reason, '|', error)\n"
    )
    with client_for(agent, bot_id="twin") as client:
        client.status()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=agent.env, timeout=30)
    assert "session_taken" in done.stdout, done.stderr
    assert str(os.getpid()) in done.stdout


def test_a_client_that_vanishes_in_mid_request_costs_nothing(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """kill -9 of the bot while its call is out: nothing hangs, the name is free for the next process."""
    sandbox.admin.fault("stall", route="GET /api/v3/time")
    script = (
        "import jackstay\n"
        f"client = jackstay.Client({agent.name!r}, runtime_dir={str(agent.runtime_dir)!r}, bot_id='gone')\n"
        "client.status(); print('up', flush=True)\n"
        f"client.request('GET', '{HOST}/api/v3/time', deadline_s=3)\n"
    )
    bot = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=agent.env)
    assert bot.stdout is not None
    assert bot.stdout.readline() == b"up\n"
    limit_at = time.monotonic() + 10
    while agent.status()["in_flight"] == 0:
        assert time.monotonic() < limit_at
    bot.kill()
    bot.wait()
    bot.stdout.close()
    sandbox.admin.clear()
    with client_for(agent, bot_id="gone") as client:
        assert client.request("GET", f"{HOST}/api/v3/time").status == 200
    limit_at = time.monotonic() + 10
    while agent.status()["in_flight"]:
        assert time.monotonic() < limit_at


def test_hostile_frames_are_refused_and_neighbours_do_not_notice(agent: AgentProcess) -> None:
    """Thousands of malformed, deep, unknown and oversize frames: typed refusals where ZeroMQ lets one arrive."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    address = ipc(agent.runtime_dir / agent.name / "bot.sock")
    good = encode(Request("GET", f"{HOST}/x"), id=9)
    hostile = [
        b"",
        b"\x01",
        b"\x09" + good[1:],
        good[:1] + b"\x3e" + good[2:],
        good[:HEADER_BYTES] + b"\xc1",
        good[:HEADER_BYTES] + b"\x91" * 2000 + b"\xc0",
        good[:HEADER_BYTES] + msgpack.packb([1, 2, 3]),
        good[:HEADER_BYTES] + b"\xdd\xff\xff\xff\xff",
        good + b"trailing",
    ]
    try:
        attacker = context.socket(zmq.DEALER)
        attacker.setsockopt(zmq.LINGER, 0)
        attacker.connect(address)
        for _ in range(300):
            for frame in hostile:
                attacker.send(frame)
        reasons = set()
        for _ in range(300 * len(hostile)):
            assert attacker.poll(5000)
            answer = decode(attacker.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1]
            assert isinstance(answer, Refusal)
            reasons.add(answer.reason)
        assert reasons == {"bad_frame", "version", "unknown_kind"}
        attacker.send_multipart([good, good, good])  # more parts than ours: dropped and counted
        attacker.send(b"x" * (TO_AGENT_FRAME_BYTES_MAX + 1))  # beyond MAXMSGSIZE ZeroMQ can only cut the line
        friend = context.socket(zmq.DEALER)
        friend.setsockopt(zmq.LINGER, 0)
        friend.connect(address)
        friend.send(encode(Hello("friend", "reader", os.getpid(), "0", 1, 1), id=1))
        assert friend.poll(5000)
        assert isinstance(decode(friend.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1], Welcome)
        friend.send(encode(Beat(), id=2))
        assert friend.poll(5000)
        assert isinstance(decode(friend.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1], Done)
    finally:
        context.destroy(0)
    assert agent.status()["gateway"]["refused_frames"] >= 300 * len(hostile)


def test_the_client_refuses_an_oversize_request_first(agent: AgentProcess) -> None:
    """What ZeroMQ could only cut off is refused before it is sent, with its size and the bound."""
    with client_for(agent) as client, pytest.raises(ValidationError):
        client.request("POST", f"{HOST}/api/v3/order", body=b"x" * (TO_AGENT_FRAME_BYTES_MAX + 1))


def test_hosts_outside_the_allowed_ones_are_refused(sandbox: SandboxProcess) -> None:
    """An operator may name what a bot can reach."""
    with AgentProcess(routed(sandbox.url, '[agent]\nallow_hosts = ["api.binance.com"]\n')) as fenced:
        with client_for(fenced) as client:
            assert client.request("GET", f"{HOST}/api/v3/time").status == 200
            with pytest.raises((Refused, ValidationError, jackstay.ExchangeError)) as caught:
                client.request("GET", "https://elsewhere.test/x")
            assert caught.value.reason == "upstream_not_allowed"
