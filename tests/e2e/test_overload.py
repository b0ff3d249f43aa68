"""A flood of questions at a slow venue: they are turned away, cancels pass, operators are answered, memory stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import zmq

from e2e_bot import HOST, RESOLVING, client_for, place, routed
from harness import AgentProcess, child_env
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.clock import boot_us
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import Outcome, Reason, TradingBotError
from jackstay_protocols.limits import REQUESTS_IN_FLIGHT_PER_PEER_MAX, TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Hello, Refusal, Request, Response, Welcome

TICKER = f"{HOST}/api/v3/ticker/price?symbol=BTCUSDT"
SLOW_MS = 1500
ORDERS = 24
RSS_GROWTH_MB_MAX = 40

#: Questions as fast as the socket takes them, answers counted, until SIGTERM; then one line of JSON.
FLOOD = f"""
import json, os, signal, sys, time
from collections import Counter
import zmq
from jackstay_protocols.clock import boot_us
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Hello, Refusal, Request
enough = []
signal.signal(signal.SIGTERM, lambda *_: enough.append(True))
socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(sys.argv[1])
socket.send(encode(Hello("flood", "primary", os.getpid(), "0", 1, 1), id=1))
socket.poll(5000)
socket.recv()
told, number, request = Counter(), 1, Request("GET", {TICKER!r})
print("ready", flush=True)
while not enough:
    try:
        for _ in range(50):
            number += 1
            socket.send(encode(request, id=number, when=boot_us() + 20_000_000), zmq.NOBLOCK)
    except zmq.Again:
        pass
    socket.poll(5)
    try:
        while True:
            answer = decode(socket.recv(zmq.NOBLOCK), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1]
            told[answer.reason if isinstance(answer, Refusal) else "answered"] += 1
    except zmq.Again:
        pass
print(json.dumps({{"sent": number, **told}}), flush=True)
"""
LIMITS_OFF = RESOLVING.replace("live = false", "live = false\nlimits = { orders_10s = 0, weight_1m = 0 }")


@pytest.fixture
def slow_world() -> Iterator[tuple[SandboxProcess, AgentProcess]]:
    """A venue whose tickers take their time, an agent with low limits."""
    limits = "[overload]\nin_flight_max = 1000\ncalm_s = 0.5\n[agent]\ndrain_timeout_s = 0.2\n"
    with SandboxProcess(seed=3, quiet=True) as venue, AgentProcess(routed(venue.url, LIMITS_OFF + limits)) as agent:
        yield venue, agent


@pytest.mark.serial
def test_a_flood_of_questions_is_shed_and_cancels_pass(slow_world: tuple[SandboxProcess, AgentProcess]) -> None:
    """Thousands of questions a second while every connection is busy: the lowest lanes are refused, every cancel is
    done in good time, control.sock answers, memory is bounded, and when the flood ends so does the shedding.
    """
    venue, agent = slow_world
    control = agent.runtime_dir / agent.name / "control.sock"
    with client_for(agent, bot_id="trader") as trader:
        for number in range(ORDERS):
            assert place(trader, venue, f"o{number}").verdict.outcome is Outcome.OK
        venue.admin.fault("latency", route="GET /api/v3/ticker/price", ms=SLOW_MS)
        before_mb = agent.rss_mb()
        flood = subprocess.Popen(
            [sys.executable, "-c", FLOOD, ipc(agent.runtime_dir / agent.name / "bot.sock")],
            stdout=subprocess.PIPE, env=child_env(), text=True,
        )  # fmt: skip
        assert flood.stdout is not None
        try:
            assert flood.stdout.readline() == "ready\n"
            until = time.monotonic() + 20
            while ask(control, "status")["overload"]["level"] < 2:
                assert time.monotonic() < until, "it never shed"
            cancels, controls, levels, worst_mb = [], [], [], before_mb
            for number in range(ORDERS):
                began = time.monotonic()
                answer = trader.request(
                    "DELETE",
                    f"{HOST}/api/v3/order?symbol=BTCUSDT&origClientOrderId=o{number}",
                    sign=True,
                    deadline_s=10,
                )
                cancels.append(time.monotonic() - began)
                assert answer.verdict.outcome is Outcome.OK
                began = time.monotonic()
                levels.append(ask(control, "status", timeout_s=5)["overload"]["level"])
                controls.append(time.monotonic() - began)
                worst_mb = max(worst_mb, agent.rss_mb())
            with pytest.raises(TradingBotError) as refused:
                trader.request("GET", TICKER, deadline_s=10)
            assert refused.value.reason == Reason.OVERLOADED
            assert refused.value.retry_after_s == 1.0
            order = place(trader, venue, "entry", deadline_s=10)  # entries are the last to be shed, and are not here
            assert order.verdict.outcome is Outcome.OK
        finally:
            flood.send_signal(signal.SIGTERM)
            told = json.loads(flood.stdout.readline() or "{}")
            flood.wait(10)
            flood.stdout.close()
        until = time.monotonic() + 20
        while (load := ask(control, "status")["overload"])["level"]:
            assert time.monotonic() < until, load
            time.sleep(0.1)  # nothing tells when it is over but the status that is asked here
        venue.admin.clear()
        assert trader.request("GET", TICKER, deadline_s=5).status == 200
    print(
        f"\n{told}; cancels worst {max(cancels) * 1000:.0f} ms, status worst {max(controls) * 1000:.0f} ms,"
        f" RSS {before_mb:.1f} -> {worst_mb:.1f} MB, levels {Counter(levels)}, shed {load['shed']}"
    )
    assert told[Reason.OVERLOADED] > 1000
    assert load["shed"]["query"] >= told[Reason.OVERLOADED]
    assert load["shed"]["order"] == 0
    assert max(cancels) < SLOW_MS / 1000 / 2, "a cancel stood behind questions"
    assert sorted(controls)[len(controls) // 2] < 0.05
    assert max(controls) < 1.0
    assert worst_mb - before_mb < RSS_GROWTH_MB_MAX
    assert agent.events("overload.raised")
    assert agent.events("overload.over")


@pytest.mark.serial
def test_a_bots_own_flood_does_not_lock_its_cancels_out() -> None:
    """With as many questions in flight as one socket may have, the next question is refused and a cancel is done."""
    extra = LIMITS_OFF + "[overload]\nenabled = false\n[agent]\ndrain_timeout_s = 0.2\n"
    with SandboxProcess(seed=4, quiet=True) as venue, AgentProcess(routed(venue.url, extra)) as agent:
        with client_for(agent, bot_id="placer") as placer:
            place(placer, venue, "mine")
        venue.admin.fault("latency", route="GET /api/v3/ticker/price", ms=4000)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        try:
            socket.connect(ipc(agent.runtime_dir / agent.name / "bot.sock"))
            socket.send(encode(Hello("flood", "primary", os.getpid(), "0", 1, 1), id=1))
            assert isinstance(read(socket)[1], Welcome)
            for number in range(2, REQUESTS_IN_FLIGHT_PER_PEER_MAX + 3):
                socket.send(encode(Request("GET", TICKER), id=number, when=boot_us() + 60_000_000))
            cancel = Request("DELETE", f"{HOST}/api/v3/order?symbol=BTCUSDT&origClientOrderId=mine", [], sign=True)
            socket.send(encode(cancel, id=900_000, when=boot_us() + 60_000_000))
            answers: dict[int, object] = {}
            while 900_000 not in answers:
                number, answer = read(socket)
                answers[number] = answer
            refused = [each for each in answers.values() if isinstance(each, Refusal)]
            assert [each.reason for each in refused] == [Reason.QUEUE_FULL]
            done = answers[900_000]
            assert isinstance(done, Response)
            assert done.outcome is Outcome.OK, done
        finally:
            socket.close(0)
            context.term()


def read(socket: zmq.Socket[bytes]) -> tuple[int, object]:
    assert socket.poll(20_000)
    header, message = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    return header.id, message
