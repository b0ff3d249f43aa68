"""Metrics as Prometheus, Grafana and a probe meet them: real scrapes of running agents."""

from __future__ import annotations

import http.client
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jackstay
from e2e_bot import HOST, RESOLVING, client_for, order_params, place, routed, signed
from harness import AgentProcess, child_env
from jackstay_agent.config import Config, ConfigError
from jackstay_agent.control import ask
from jackstay_agent.metrics.table import COUNTER, HISTOGRAM, INFO, METRICS
from jackstay_agent.sandbox import SandboxProcess
from metrics_pages import MONITORING, OPEN, Door, names_used, samples, value

#: Only there while a dead-man switch is armed (tests/agent/test_metrics.py shows it).
NOT_HERE = {"jackstay_deadman_fires_seconds"}


@pytest.fixture(scope="module")
def watched(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """An agent with a key, a feed, a user stream and metrics.sock."""
    ways = f'"ws-api.binance.com" = "{sandbox.url}"\n"ws-api.binance.com:443" = "{sandbox.url}"\n'
    feed = f'[feeds.sim]\nurl = "{sandbox.ws_url.removesuffix("/ws")}/stream"\ndialect = "binance"\n'
    with AgentProcess(routed(sandbox.url, ways + RESOLVING + feed + '[metrics]\nlisten = "unix"\n')) as agent:
        yield agent


@pytest.fixture
def door(watched: AgentProcess) -> Iterator[Door]:
    door = Door(watched.runtime_dir / watched.name / "metrics.sock")
    yield door
    door.close()


def busy(agent: AgentProcess, sandbox: SandboxProcess) -> None:
    """A bot that trades, reads prices, is refused, and loses an answer."""
    with client_for(agent, bot_id="watched") as client:
        place(client, sandbox, f"m{time.monotonic_ns()}")
        sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        place(client, sandbox, f"lost{time.monotonic_ns()}", deadline_s=8)
        with pytest.raises(jackstay.TradingBotError):
            client.request("GET", venue="nowhere", path="/api/v3/time")
        client.request("GET", f"{HOST}/api/v3/time")
        for _ in zip(range(1), client.subscribe("sim", ["btcusdt@trade"], timeout_s=20), strict=False):
            pass


def test_what_dashboard_and_alerts_name_is_in_a_real_scrape(
    watched: AgentProcess, door: Door, sandbox: SandboxProcess
) -> None:
    """No panel and no rule asks for a metric that no agent has; none that an agent has is left off the dashboard."""
    busy(watched, sandbox)
    status, text = door.get("/metrics")
    assert status == 200
    there = {name for name, _labels in samples(text)}
    for file, names in names_used().items():
        assert names - there <= NOT_HERE, f"{file} names what no agent tells: {sorted(names - there)}"
    shown = " ".join(names_used()["dashboard.json"])
    assert [name for name in METRICS if name not in shown] == []
    assert {name.removesuffix("_total").removesuffix("_info") for name in there} >= set(METRICS) - NOT_HERE - {
        name for name, metric in METRICS.items() if metric.kind == HISTOGRAM
    }


def test_names_follow_the_conventions() -> None:
    """Base units at the end, `_total` and `_info` by the encoder, labels from a short list of bounded words."""
    units = ("_seconds", "_bytes", "_ratio", "_seconds_total")
    labels = {label for metric in METRICS.values() for label in metric.labels}
    assert labels <= {
        "agent", "version", "wire_version", "grade", "preset", "measure", "lane", "event", "venue", "operation",
        "outcome", "reason", "upstream", "state", "breaker", "result", "budget", "scope", "mode", "what", "bot", "feed",
    }  # fmt: skip
    for name, metric in METRICS.items():
        assert name.startswith("jackstay_")
        assert not name.endswith(("_total", "_info", "_ms", "_mb", "_percent")), name
        assert metric.help.endswith(".")
        assert metric.kind in ("gauge", COUNTER, HISTOGRAM, INFO)
        if metric.kind == HISTOGRAM:
            assert name.endswith(units)


def test_both_formats_say_the_same(watched: AgentProcess, door: Door, sandbox: SandboxProcess) -> None:
    """Prometheus text and OpenMetrics, by what the scraper accepts; one connection serves many scrapes."""
    busy(watched, sandbox)
    assert door.get("/live") == (200, "alive\n")
    plain = door.get("/metrics")[1]
    exact = door.get("/metrics", Accept=OPEN)[1]
    assert not plain.endswith("# EOF\n")
    assert exact.endswith("# EOF\n")
    assert {name for name, _ in samples(plain)} == {name for name, _ in samples(exact)}
    assert door.get("/metrics", method="HEAD") == (200, "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus brings it")
def test_promtool_accepts_rules_and_metrics(watched: AgentProcess, door: Door) -> None:
    """Prometheus' own tool finds nothing wrong with the alert rules, the example configuration and a scrape."""
    text = door.get("/metrics")[1]
    for arguments, given in (
        (["check", "rules", str(MONITORING / "alerts.yml")], ""),
        (["check", "config", str(MONITORING / "prometheus.yml")], ""),
        (["check", "metrics"], text),
    ):
        done = subprocess.run(
            ["promtool", *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_orders_and_symbols_make_no_new_series(watched: AgentProcess, door: Door, sandbox: SandboxProcess) -> None:
    """Fifty orders of ids and symbols never seen before: not one series more, and none of their words on the page."""
    busy(watched, sandbox)
    with client_for(watched, bot_id="watched") as client:

        def orders(word: str, count: int) -> None:
            for number in range(count):
                params = order_params(f"{word}{number}") | {"symbol": f"{word.upper()}{number}"}
                headers = [("X-MBX-APIKEY", "sandbox-key"), ("Content-Type", "application/x-www-form-urlencoded")]
                body = signed(params).encode()
                client.request("POST", f"{HOST}/api/v3/order", headers=headers, body=body, deadline_s=5)

        orders("planta", 12)  # the loop stop, the patterns and their events are there now
        before = set(samples(door.get("/metrics")[1]))
        orders("plantb", 50)
        text = door.get("/metrics")[1]
    grown = {name for name, _ in set(samples(text)) - before}
    assert grown <= {"jackstay_events_total"}
    assert "plant" not in text.lower()


def test_many_bots_are_bounded(watched: AgentProcess, door: Door) -> None:
    """A hundred bot ids: at most 64 of them have series."""
    for number in range(100):
        with client_for(watched, bot_id=f"many{number}") as client:
            client.status()
    text = door.get("/metrics")[1]
    bots = {dict(labels)["bot"] for name, labels in samples(text) if name == "jackstay_bot_silent_seconds"}
    assert len(bots) == 64
    assert (value(text, "jackstay_metrics_rows_dropped_total") or 0) >= 36, "those left out are counted"


def test_a_path_of_anothers_is_left_alone_and_what_a_crash_left_is_not(tmp_path: Path) -> None:
    """Two agents with one `unix:` path: the second says so and the first is scraped on; a dead one's is taken over."""
    shared = f'[metrics]\nlisten = "unix:{tmp_path}/m.sock"\n'
    with AgentProcess(shared) as first:
        with pytest.raises(RuntimeError, match="a port or a path of its own"):
            AgentProcess(shared, name="second").start()
        scraped = Door(tmp_path / "m.sock")
        assert scraped.get("/live")[0] == 200
        scraped.close()
        first.kill()
        first.start()
        scraped = Door(tmp_path / "m.sock")
        assert scraped.get("/live")[0] == 200
        scraped.close()


def test_a_page_for_machines_is_no_page_for_others(watched: AgentProcess, door: Door) -> None:
    """The socket is its owner's; unknown pages and other methods are told what is expected; too many have to wait."""
    mode = (watched.runtime_dir / watched.name / "metrics.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert door.get("/")[0] == 404
    assert door.get("/metrics", method="POST")[0] == 405
    crowd = [Door(watched.runtime_dir / watched.name / "metrics.sock") for _ in range(20)]
    try:
        for each in crowd:
            each.connect()
        last = crowd[-1]
        with pytest.raises((http.client.HTTPException, OSError)):
            last.get("/live")
        assert ask(watched.runtime_dir / watched.name / "control.sock", "ping")["agent"] == watched.name
    finally:
        for each in crowd:
            each.close()


def test_on_tcp_only_this_machine_is_answered(sandbox: SandboxProcess) -> None:
    """A loopback port; a browser led here by a foreign page names a foreign host, and gets nothing."""
    with free_port_agent(sandbox) as (_agent, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            for host, expected in (
                (f"127.0.0.1:{port}", 200),
                ("Localhost", 200),
                ("[::1]:1", 200),
                ("evil.example", 403),
            ):
                connection.request("GET", "/metrics", headers={"Host": host})
                answer = connection.getresponse()
                body = answer.read()
                assert (answer.status, b"jackstay_build_info" in body) == (expected, expected == 200)
        finally:
            connection.close()
        with AgentProcess(f'[metrics]\nlisten = "127.0.0.1:{port}"\n', name="second") as second:
            pytest.fail(f"two agents on one port: {second.log()}")


class free_port_agent:  # noqa: N801 - reads as a with statement
    """An agent with metrics on a TCP port that was free a moment ago; its port. The second agent has to be refused."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.agent = AgentProcess(routed(sandbox.url, f'[metrics]\nlisten = "127.0.0.1:{self.port}"\n'))

    def __enter__(self) -> tuple[AgentProcess, int]:
        self.agent.start()
        return self.agent, self.port

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        self.agent.__exit__(None, None, None)
        return kind is RuntimeError and "[metrics] listen" in str(error) and "a port or a path of its own" in str(error)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", ":9464", "192.168.1.4:9464", "127.0.0.1", "example.com:1", "unix:x"]
)
def test_another_address_is_refused_at_the_check(listen: str) -> None:
    """Whatever is not of this machine alone: the configuration is refused, with what is expected instead."""
    with pytest.raises(ConfigError, match=r"listen = .* a loopback address with a port .* is expected"):
        Config.from_toml(f'[metrics]\nlisten = "{listen}"\n')
    assert Config.from_toml('[metrics]\nlisten = "[::1]:9464"\n').metrics.address == ("::1", 9464)
    assert Config.from_toml('[metrics]\nlisten = "localhost:9464"\n').metrics.address == ("127.0.0.1", 9464)
    assert Config.from_toml('[metrics]\nlisten = "unix:/run/x.sock"\n').metrics.path(Path("y")) == Path("/run/x.sock")


def test_ready_says_what_is_missing_and_live_does_not_care(tmp_path: Path) -> None:
    """Ready with its venue; 503 and the reason when the venue goes or a door is gone; alive all the while."""
    with SandboxProcess(seed=2, quiet=True) as venue:
        config = routed(venue.url, RESOLVING + '[metrics]\nlisten = "unix"\n[connections]\nprobe_s = 0.2\n')
        with AgentProcess(config) as agent:
            folder = agent.runtime_dir / agent.name
            pages = Door(folder / "metrics.sock")
            with client_for(agent) as client:
                place(client, venue, "ready1")
            assert pages.get("/ready") == (200, "ready\n")
            assert value(pages.get("/metrics")[1], "jackstay_ready") == 1.0
            venue.kill()
            until = time.monotonic() + 20
            while (told := pages.get("/ready"))[0] == 200:
                assert time.monotonic() < until
                time.sleep(0.05)  # a probe asks again and again; nothing announces the change
            assert told[0] == 503
            assert told[1].startswith("venue: api.binance.com: no connection (")
            assert value(pages.get("/metrics")[1], "jackstay_ready") == 0.0
            (folder / "bot.sock").rename(folder / "moved.sock")
            assert "door: bot.sock is gone" in pages.get("/ready")[1]
            (folder / "moved.sock").rename(folder / "bot.sock")
            assert pages.get("/live") == (200, "alive\n")
            pages.close()
        assert not (folder / "metrics.sock").exists()


def test_who_wants_no_metrics_pays_for_none() -> None:
    """Without [metrics] the agent's program loads neither prometheus-client nor our rooms for it."""
    look = (
        "import sys, jackstay_agent.app, jackstay_agent.cli.run\n"
        "print([each for each in sys.modules if each.startswith(('prometheus_client', 'jackstay_agent.metrics.'))])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=child_env(), check=True)
    assert done.stdout.strip() == "[]"
