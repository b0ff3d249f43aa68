"""The hook that tells what happened, on a real agent in this process against the sandbox in another."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, KEY, RESOLVING, SECRET, order_request, quick_profiles, routed, signed
from jackstay_agent.app import Agent, build
from jackstay_agent.config import Config
from jackstay_agent.outbox import Intent, Settled
from jackstay_agent.ports import real_ports
from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.telling import Answered, Asked, Attempt, Listener, Telling
from jackstay_protocols.endpoints import AgentPaths
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, Refused
from jackstay_protocols.messages import Refusal, Request

HEADERS = [("X-MBX-APIKEY", KEY)]


class Notes(Listener):
    """Everything heard, in order, as (what, path, what of it)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.asked: list[Asked] = []
        self.bodies: list[bytes] = []

    def decided(self, asked: Asked, refusal: Refusal | None) -> None:
        self.asked.append(asked)
        self.heard.append(("decided", asked.path, None if refusal is None else str(refusal.reason)))

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        self.bodies.append(attempt.body)
        assert attempt.ended_at >= attempt.started_at > 0
        self.heard.append(("attempted", asked.path, (str(attempt.verdict.outcome), attempt.status, asked.own)))

    def answered(self, asked: Asked, answer: Answered) -> None:
        self.heard.append(("answered", asked.path, (answer.outcome, answer.attempts, answer.sent, answer.intent != "")))

    def settled(self, intent: Intent | None, settled: Settled) -> None:
        assert intent is not None
        self.heard.append(("settled", intent.client_order_id, str(settled.state)))

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        assert abs(wall_us / 1e6 - time.time()) < 60
        self.heard.append(("happened", name, None))

    def of(self, path: str) -> list[tuple[str, Any]]:
        return [(what, rest) for what, where, rest in self.heard if where == path]


def with_agent(
    config: str, listener: Listener, drive: Callable[[Agent, jackstay.AsyncClient], Coroutine[Any, Any, None]]
) -> None:
    async def run(folder: Path) -> None:
        ports = real_ports(asyncio.get_running_loop())
        paths = AgentPaths("t", folder / "t")
        agent = build(Config.from_toml(config), ports, name="t", paths=paths)
        agent.telling.listen(listener)
        agent.take_lock()
        await agent.start()
        try:
            async with jackstay.AsyncClient("t", runtime_dir=folder, bot_id="bot") as client:
                await drive(agent, client)
        finally:
            await agent.stop()
            ports.close()

    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        asyncio.run(run(Path(folder)))


def test_a_journey_is_told_in_its_order_without_a_secret(sandbox: SandboxProcess) -> None:
    """An order is decided, attempted, answered; the order's fields can be read, its signature and key nowhere."""
    notes = Notes()
    signatures: list[str] = []

    async def drive(agent: Agent, client: jackstay.AsyncClient) -> None:
        method, url, headers, body = order_request("told-1")
        assert (await client.request(method, url, headers=headers, body=body)).status == 200
        query = signed({"symbol": "BTCUSDT", "origClientOrderId": "told-1"})
        signatures.extend((query.rpartition("=")[2], body.decode().rpartition("=")[2]))
        await client.request("GET", f"{HOST}/api/v3/order?{query}", headers=HEADERS)
        await client.request("DELETE", f"{HOST}/api/v3/order?{query}", headers=HEADERS)
        assert (await client.request("POST", f"{HOST}/api/v3/userDataStream", headers=HEADERS)).status == 200

    with_agent(routed(sandbox.url), notes, drive)
    once = [("decided", None), ("attempted", ("ok", 200, False))]
    assert notes.of("/api/v3/order") == [
        *once,
        ("answered", ("ok", 1, True, True)),
        *once,
        ("answered", ("ok", 1, True, False)),
        *once,
        ("answered", ("ok", 1, True, False)),
    ]
    assert ("happened", "bot.hello", None) in notes.heard
    place, look, cancel, listen = notes.asked
    assert (place.kind, look.kind, cancel.kind, listen.kind) == ("place", "order_query", "cancel", "other")
    assert (place.bot, place.venue, place.host) == ("bot", "binance", "api.binance.com")
    assert place.account.startswith("key-")
    assert [(each.client_id, each.symbol, str(each.quantity)) for each in place.orders] == [
        ("told-1", "BTCUSDT", "0.001")
    ]
    assert place.seqs
    assert cancel.given["origClientOrderId"] == "told-1"
    for asked in notes.asked:
        shown = f"{asked.outgoing.target} {asked.outgoing.body!r} {asked.outgoing.headers} {asked.given}"
        assert KEY not in shown
        assert SECRET not in shown
        assert not any(signature in shown for signature in signatures)
    assert notes.bodies[-1] == b"", "a listen key is a secret"


def test_refusals_are_decisions(sandbox: SandboxProcess) -> None:
    """Whatever refuses a request, before or inside its journey, is told once with its reason, and as nothing else."""
    notes = Notes()

    async def refused(client: jackstay.AsyncClient, url: str, **more: Any) -> str:
        try:
            await client.request("GET", url, **more)
        except Refused as error:
            return str(error.reason)
        return "taken"

    async def drive(agent: Agent, client: jackstay.AsyncClient) -> None:
        assert await refused(client, "https://elsewhere.test/x?signature=abc") == "upstream_not_allowed"
        agent.bots.draining = True
        with pytest.raises(AgentGone):  # it waits for the next agent, as long as its deadline allows
            await client.request("GET", f"{HOST}/api/v3/time", deadline_s=0.3)
        agent.bots.draining = False

    with_agent(routed(sandbox.url, '[agent]\nallow_hosts = ["*.binance.com"]\n'), notes, drive)
    told = [each for each in notes.heard if each[0] != "happened"]
    assert [(what, rest) for what, _path, rest in told] == [
        ("decided", "upstream_not_allowed"),
        ("decided", "draining"),
    ]
    assert all("abc" not in path for _what, path, _rest in told)


def test_an_order_settled_late_is_told(
    sandbox: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bot was told "unknown"; what the agent's own question proves is told as settled, its question as own."""
    monkeypatch.setenv("SANDBOX_KEY", KEY)
    monkeypatch.setenv("SANDBOX_SECRET", SECRET)
    notes = Notes()

    async def drive(agent: Agent, client: jackstay.AsyncClient) -> None:
        sandbox.admin.fault("drop_reply", route="POST /api/v3/order", count=1)
        sandbox.admin.fault("stall", route="GET /api/v3/order", count=1)
        method, url, headers, body = order_request("late-1")
        with pytest.raises(DeadlineExceeded):
            await client.request(method, url, headers=headers, body=body, deadline_s=0.5)
        for _ in range(500):
            if notes.of("late-1"):
                return
            await asyncio.sleep(0.02)

    with_agent(routed(sandbox.url, RESOLVING + quick_profiles(tmp_path / "profiles")), notes, drive)
    assert notes.of("late-1") == [("settled", "done")]
    assert ("attempted", "/api/v3/order", ("ok", 200, True)) in notes.heard


def test_a_listener_that_fails_breaks_no_journey(sandbox: SandboxProcess) -> None:
    """The bot gets its answer, the other listener hears all, and the failure is one event a minute."""

    class Broken(Listener):
        def decided(self, asked: Asked, refusal: Refusal | None) -> None:
            raise RuntimeError("a fault of mine")

    notes = Notes()

    async def drive(agent: Agent, client: jackstay.AsyncClient) -> None:
        agent.telling.listen(Broken())
        for _ in range(3):
            assert (await client.request("GET", f"{HOST}/api/v3/time")).status == 200
        assert agent.telling.broken == 3

    with_agent(routed(sandbox.url), notes, drive)
    assert len(notes.of("/api/v3/time")) == 9
    assert notes.heard.count(("happened", "telling.broken", None)) == 1


def test_with_nobody_listening_nothing_is_made() -> None:
    """No facts are gathered, and what is told goes nowhere."""
    telling = Telling()
    assert telling.asked(Request("GET", "https://x.test/"), None, "b", 1, 0.0) is None
    telling.admitted(None)
    telling.refused(None, Refusal("expired", "x"))
