"""Patterns of a real agent: a loop is stopped and named, a prediction reaches feed.sock and a webhook in time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ccxt

import jackstay
from e2e_bot import KEY, RESOLVING, SECRET, client_for, place, routed
from harness import AgentProcess, cli
from jackstay_agent.app import build
from jackstay_agent.config import Config
from jackstay_agent.ports import real_ports
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.endpoints import AgentPaths
from sandbox_client import Plain, limit_order

FASTER = 600.0  # how much faster the wall clock runs for the analytics: an hour in six seconds


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that keeps what it is given; its first answer is a failure."""
    got: list[dict[str, Any]] = []
    failures = [503]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = failures.pop() if failures else 200
            if status == 200:
                got.append({**json.loads(body), "heard_at": time.monotonic(), "token": self.headers["Authorization"]})
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()
        thread.join(5)


def wait_for(what: Any, seconds: float = 10.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def test_of_fifty_identical_rejects_the_venue_sees_ten_and_the_pattern_names_the_loop(sandbox: SandboxProcess) -> None:
    """With ccxt's adapter: the bot gets a clear error, an operator reads which order it was, a webhook hears of it."""
    with webhook() as (url, got):
        alerts = f'[alerts]\nwebhook = "{url}"\nwebhook_header = "Authorization: Bearer t0k"\n'
        with AgentProcess(routed(sandbox.url, alerts)) as agent, client_for(agent) as client:
            exchange = ccxt.binance(
                {"apiKey": KEY, "secret": SECRET, "options": {"fetchMarkets": ["spot"], "fetchMargins": False}}
            )
            jackstay.attach(exchange, client)
            exchange.has["fetchCurrencies"] = False
            exchange.load_markets()
            sandbox.admin.reset()
            answers: list[str] = []
            for _ in range(50):
                try:
                    exchange.create_order("BTC/USDT", "limit", "buy", 1000, 50_000)
                except Exception as error:
                    answers.append(type(error).__name__)
            placed = [row for row in sandbox.admin.ledger(method="POST") if row["path"] == "/api/v3/order"]
            assert len(placed) == 10
            assert len(answers) == 50
            assert answers.count(answers[0]) == 10
            shown = cli("patterns", "list", agent.name, "--json", runtime_dir=agent.runtime_dir)
            (loop,) = [each for each in json.loads(shown.stdout)["patterns"] if each["kind"] == "reject_loop"]
            assert loop["frequency"] == 10
            assert "BTCUSDT buy limit 1000" in loop["evidence"]["order"]
            assert loop["component"] == "binance"
            words = cli("patterns", "list", agent.name, runtime_dir=agent.runtime_dir).stdout
            assert "change a field of it, or stop the bot" in words
            told = wait_for(lambda: [each for each in got if each["event"] == "pattern.found"])
            assert told[0]["fields"]["kind"] == "reject_loop"
            assert told[0]["token"] == "Bearer t0k"
            assert wait_for(lambda: [each for each in got if each["event"] == "loop.stopped"])
            done = cli("patterns", "ack", loop["id"], agent.name, runtime_dir=agent.runtime_dir)
            assert done.returncode == 0, done.stderr
            trends = cli("trends", agent.name, runtime_dir=agent.runtime_dir)
            assert trends.stdout.startswith("no trend")
            status = agent.status()["patterns"]
            assert status["open"] >= 1
            assert "t0k" not in agent.log()


def test_a_state_divergence_reaches_the_webhook(sandbox: SandboxProcess) -> None:
    """An order that nobody here placed is found by the state monitor, and the default alerts hand it over."""
    config = (
        RESOLVING
        + '[account]\nexclusive = true\nclient_id_prefixes = ["own-"]\n[state]\nsettle_s = 0.2\ngap_s = 0.1\n'
        + f'[upstreams]\n"api.binance.com" = "{sandbox.url}"\n"ws-api.binance.com:443" = "{sandbox.url}"\n'
    )
    with webhook() as (url, got), AgentProcess(f'{config}[alerts]\nwebhook = "{url}"\n') as agent:
        with client_for(agent) as bot:
            assert place(bot, sandbox, "own-known").status == 200
            Plain(sandbox).call("POST", "/api/v3/order", limit_order("own-lost", price="21000"))
            assert cli("state", "check", "-a", agent.name, runtime_dir=agent.runtime_dir).returncode == 1
            told = wait_for(lambda: [each for each in got if each["event"] == "state.discrepancy"])
    assert "own-lost" in json.dumps(told[0]["fields"])


def test_a_prediction_reaches_the_feed_and_a_webhook_before_the_crossing(sandbox: SandboxProcess) -> None:
    """A bot reports more and more errors (an hour passes in six seconds): the event comes while the ramp is far below
    its threshold; any other event by name reaches the webhook too.
    """
    heard: list[tuple[float, str, dict[str, Any]]] = []
    config = (
        '[alerts]\nevents = ["pattern.*", "state.*"]\nwebhook = "URL"\n[analytics.thresholds]\n"model:Slow" = 120.0\n'
    )

    async def run(folder: Path, url: str, got: list[dict[str, Any]]) -> None:
        loop = asyncio.get_running_loop()
        began, real_wall = time.monotonic(), time.time()
        ports = dataclasses.replace(real_ports(loop), wall=lambda: real_wall + (time.monotonic() - began) * FASTER)
        agent = build(
            Config.from_toml(routed(sandbox.url, config.replace("URL", url))),
            ports,
            name="t",
            paths=AgentPaths("t", folder / "t"),
        )
        agent.take_lock()
        await agent.start()

        try:
            async with jackstay.AsyncClient("t", runtime_dir=folder, bot_id="bot") as client:
                listener = asyncio.create_task(collect(folder, heard, began))
                await ramp(client, heard, began)
                agent.event("state.diverged", {"component": "orders"})
                for _ in range(500):
                    if [each for each in got if each["event"] == "state.diverged"]:
                        break
                    await asyncio.sleep(0.02)
                listener.cancel()
        finally:
            await agent.stop()
            ports.close()

    with webhook() as (url, got), tempfile.TemporaryDirectory(prefix="js-") as folder:
        asyncio.run(run(Path(folder), url, got))
    predicted = [
        (at, fields) for at, name, fields in heard if name == "pattern.found" and fields["kind"] == "prediction"
    ]
    assert predicted, [name for _at, name, _fields in heard]
    at, fields = predicted[0]
    assert (fields["component"], fields["error_type"]) == ("model", "Slow")
    crosses_s = 120.0 / PER_MIN_PER_HOUR * 3600 / FASTER
    assert at < crosses_s
    assert fields["evidence"]["threshold"] == 120.0
    assert [each for each in got if each["event"] == "pattern.found" and each["fields"]["kind"] == "prediction"]
    assert [each for each in got if each["event"] == "state.diverged"]


PER_MIN_PER_HOUR = 60.0


async def collect(folder: Path, heard: list[tuple[float, str, dict[str, Any]]], began: float) -> None:
    async with jackstay.AsyncClient("t", runtime_dir=folder, bot_id="watcher", kind="reader") as reader:
        async for event in reader.events():
            heard.append((time.monotonic() - began, event.name, event.fields))


async def ramp(client: jackstay.AsyncClient, heard: list[tuple[float, str, dict[str, Any]]], began: float) -> None:
    """Reports at a rate that grows by a steady amount, until the prediction was heard or the line was reached."""
    sent = 0.0
    while time.monotonic() - began < 11.0:
        hours = (time.monotonic() - began) * FASTER / 3600
        due = PER_MIN_PER_HOUR * 60 * hours * hours / 2
        while sent < due:
            sent += 1
            await client.report_error("the model is late", component="model", operation="predict", error_type="Slow")
        if any(name == "pattern.found" and fields["kind"] == "prediction" for _at, name, fields in heard):
            return
        await asyncio.sleep(0.005)
