"""Many clients and one flood: none stuck, operators are still answered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
import zmq

from bench.static_venue import static_venue
from flood import flooded
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_protocols.clock import boot_us
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Beat, Done, Hello, Request, Response, Welcome

CLIENTS = 100
REQUESTS_EACH = 2000
WINDOW = 20
LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"


@pytest.fixture
def loaded_agent() -> Iterator[AgentProcess]:
    """An agent in front of a venue that costs next to nothing."""
    with static_venue() as base, AgentProcess(f'[upstreams]\n"api.binance.com" = "{base}"\n{LIMITS_OFF}') as agent:
        yield agent


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(300)
def test_a_hundred_pipelined_clients_get_every_answer(loaded_agent: AgentProcess) -> None:
    """200,000 requests over 100 sockets, 20 in flight on each: every one answered, none stuck."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    address = ipc(loaded_agent.runtime_dir / loaded_agent.name / "bot.sock")
    poller = zmq.Poller()
    sockets: dict[zmq.Socket[bytes], list[int]] = {}
    try:
        for _ in range(CLIENTS):
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(address)
            socket.send(encode(Hello("load", "primary", os.getpid(), "0", 1, 1), id=1))
            assert isinstance(_read(socket), Welcome)
            poller.register(socket, zmq.POLLIN)
            sockets[socket] = [1, 0]  # last id sent, answers
        request = Request("GET", "https://api.binance.com/api/v3/time")
        began = time.monotonic()
        for socket, state in sockets.items():
            for _ in range(WINDOW):
                _send(socket, state, request)
        done = 0
        while done < CLIENTS * REQUESTS_EACH:
            ready = poller.poll(10_000)
            assert ready, (
                f"stuck after {done} answers: {[state for state in sockets.values() if state[1] < REQUESTS_EACH]}"
            )
            for socket, _event in ready:
                state = sockets[socket]
                for _ in range(WINDOW):
                    try:
                        answer = decode(socket.recv(zmq.NOBLOCK), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1]
                    except zmq.Again:
                        break
                    assert isinstance(answer, Response), answer
                    state[1] += 1
                    done += 1
                    if state[0] <= REQUESTS_EACH:
                        _send(socket, state, request)
        took_s = time.monotonic() - began
        rss_mb = loaded_agent.rss_mb()
        print(f"{done} requests over {CLIENTS} sockets in {took_s:.1f} s: {done / took_s:.0f}/s, RSS {rss_mb:.1f} MB")
        assert all(state[1] == REQUESTS_EACH for state in sockets.values())
    finally:
        for socket in sockets:
            socket.close(0)
        context.term()


def _send(socket: zmq.Socket[bytes], state: list[int], request: Request) -> None:
    state[0] += 1
    socket.send(encode(request, id=state[0], when=boot_us() + 60_000_000))


def _read(socket: zmq.Socket[bytes]) -> object:
    assert socket.poll(5000)
    return decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1]


@pytest.mark.slow
@pytest.mark.serial
def test_status_answers_while_a_client_floods(loaded_agent: AgentProcess) -> None:
    """control.sock within 50 ms at p99 while one client sends as fast as it can."""
    folder = loaded_agent.runtime_dir / loaded_agent.name
    times = []
    before = ask(folder / "control.sock", "status")["gateway"]
    with flooded(ipc(folder / "bot.sock")):
        until = time.monotonic() + 7
        while time.monotonic() < until:
            began = time.monotonic()
            ask(folder / "control.sock", "status", timeout_s=5)
            times.append(time.monotonic() - began)
    times.sort()
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(
        f"{len(times)} status calls under flood: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, {json.dumps(before)}"
    )
    assert p99 <= 0.05


def test_a_ping_of_the_gateway_is_answered_in_order(loaded_agent: AgentProcess) -> None:
    """Answers of one socket keep the order of its questions when they need no venue."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(ipc(loaded_agent.runtime_dir / loaded_agent.name / "bot.sock"))
    try:
        socket.send(encode(Hello("order", "primary", os.getpid(), "0", 1, 1), id=1))
        assert isinstance(_read(socket), Welcome)
        for number in range(2, 502):
            socket.send(encode(Beat(), id=number))
        seen = []
        for _ in range(500):
            assert socket.poll(5000)
            header, message = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
            assert isinstance(message, Done)
            seen.append(header.id)
        assert seen == list(range(2, 502))
    finally:
        socket.close(0)
        context.term()
