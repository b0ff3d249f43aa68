"""The incident's report: gathered from a real incident, opened in a real browser that may reach nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_bot import HOST, client_for, order_params, place, routed, signed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import TradingBotError

BANDS = ("modes", "breakers", "connections", "requests", "latency", "patterns", "patterns-table", "orders", "operators",
         "causes", "timeline")  # fmt: skip
HEADERS = [("X-MBX-APIKEY", "sandbox-key"), ("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture(scope="module")
def incident(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """A bot trades, the venue falters, a loop is stopped, an operator holds a mode and releases it."""
    with AgentProcess(routed(sandbox.url)) as agent:
        with client_for(agent, bot_id="maker") as client:

            def anyhow(call: object) -> None:
                try:
                    call()  # type: ignore[operator]
                except TradingBotError:
                    pass

            for n in range(6):
                anyhow(lambda n=n: place(client, sandbox, f"inc-{n}"))
            sandbox.admin.fault("venue_error", route="GET /api/v3/time", count=12, name="502")
            for _ in range(14):
                anyhow(lambda: client.request("GET", f"{HOST}/api/v3/time", deadline_s=0.3))
            huge = order_params("huge") | {"quantity": "1000", "price": "20000.00"}
            for _ in range(12):
                body = signed(huge).encode()
                anyhow(lambda body=body: client.request("POST", f"{HOST}/api/v3/order", headers=HEADERS, body=body))
            held = cli("mode", "hold", "binance", "conservative", "--why", "a test", runtime_dir=agent.runtime_dir)
            assert held.returncode == 0, held.stderr
            released = cli("mode", "release", "binance", "--why", "over", runtime_dir=agent.runtime_dir)
            assert released.returncode == 0, released.stderr
        cli("stop", agent.name, runtime_dir=agent.runtime_dir)
        assert agent.process is not None
        agent.process.wait(20)
        yield agent


def made(incident: AgentProcess, out: Path, *more: str) -> str:
    done = cli("report", incident.name, "--since", "10m", "--out", str(out), *more, runtime_dir=incident.runtime_dir)
    assert done.returncode == 0, done.stderr
    return out.read_text(encoding="utf-8")


def test_the_facts_are_those_of_the_incident(incident: AgentProcess, tmp_path: Path) -> None:
    """As JSON: what was asked and refused, which orders, which events; as text the same for a terminal."""
    facts = json.loads(made(incident, tmp_path / "facts.json", "--json"))
    assert facts["totals"]["ok"] >= 6
    assert facts["totals"]["rejected"] == 10
    assert facts["refusals"]["loop_stopped"] == 2
    assert {f"inc-{n}" for n in range(6)} <= {each["order"] for each in facts["orders"]}
    first = next(each for each in facts["orders"] if each["order"] == "inc-0")
    assert first["story"] == ["place admitted", "ok ok"]
    assert any(each["name"] == "loop.stopped" for each in facts["breakers"])
    assert any(each["fields"].get("kind") == "reject_loop" for each in facts["patterns"])
    assert sum(facts["requests"]["rejected"]) == 10
    assert {each["name"] for each in facts["modes"]} >= {"mode.held", "mode.released"}
    assert {each["uid"] for each in facts["operators"]} == {os.getuid()}
    assert any(facts["latency_ms"]["p50"])
    text = made(incident, tmp_path / "facts.txt", "--text")
    assert "inc-0  place admitted → ok ok" in text
    assert "loop.stopped" in text


def test_the_page_is_self_contained(incident: AgentProcess, tmp_path: Path) -> None:
    """Every band is there, nothing is fetched, nothing runs, and what others wrote is escaped."""
    html = made(incident, tmp_path / "incident.html")
    for band in BANDS:
        assert f'id="band-{band}"' in html
    assert html.count("<svg") >= 4
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?!#)', html.replace('xlink:href="#', ""))
    everyone = made(incident, tmp_path / "all.html", "--all")
    assert "<h1>t</h1>" in everyone


def test_a_browser_opens_it_without_network_and_without_a_word_on_its_console(
    incident: AgentProcess, tmp_path: Path
) -> None:
    """Headless Chromium, all names and proxies dead: no request, no error, the drawn bands have a size."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    page = tmp_path / "incident.html"
    made(incident, page)
    log, picture = tmp_path / "net.json", tmp_path / "page.png"
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
        "--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
        "--enable-logging=stderr", "--window-size=1100,1500", f"--screenshot={picture}", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert picture.exists(), done.stderr
    assert picture.stat().st_size > 30_000
    assert "CONSOLE" not in done.stderr, done.stderr
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    asked = {url for url in re.findall(r'"url":"(https?://[^"]+)"', text) if "google" not in url and "gvt1" not in url}
    assert not asked, asked


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    """No log, a time that ends before it begins, a word that is no time."""
    none = cli("report", "nobody", runtime_dir=tmp_path)
    assert none.returncode == 1
    assert "holds no audit log of agent 'nobody'" in none.stderr
    wrong = cli("report", "nobody", "--since", "yesterday", runtime_dir=tmp_path)
    assert wrong.returncode == 2
    assert "15m, 2h, 1d" in wrong.stderr
    assert cli("report", "nobody", "--since", "1m", "--until", "5m", runtime_dir=tmp_path).returncode == 2
