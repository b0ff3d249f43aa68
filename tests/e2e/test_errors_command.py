"""Errors end to end: a bot reports them, venues answer them, the agent counts and escalates, an operator reads on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, client_for, place, routed
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import ModelError, Refused

SETTINGS = """
[errors.severity.levels]
RateError = "high"
[errors.severity.escalation.medium]
repeats = 3
within_s = 60.0
"""


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, SETTINGS)) as running:
        yield running


@pytest.fixture
def client(own_agent: AgentProcess) -> Iterator[jackstay.Client]:
    with client_for(own_agent) as made:
        yield made


def told(agent: AgentProcess, *words: str) -> Any:
    done = cli("errors", *words, "--json", runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_bots_report_is_classified_counted_and_becomes_louder(
    own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """The third of a kind within a minute is one step up, told once; the bot hears how loud it is."""
    heard = [
        client.report_error(ModelError(f"nan {n}"), component="strategy", operation="predict", symbol="BTCUSDT")
        for n in range(5)
    ]
    assert [each["severity"] for each in heard] == ["medium", "medium", "high", "high", "high"]
    assert [each["number"] for each in heard] == [1, 2, 3, 4, 5]
    (up,) = own_agent.events("error.escalated")
    assert (up["component"], up["error_type"], up["repeats"], up["bot"]) == ("strategy", "ModelError", 3, "e2e")
    assert up["level"] == "error", "as loud in the log as its severity: whoever reads warnings and worse sees it"
    facts = told(own_agent)
    assert [each["message"] for each in facts["errors"]] == [f"nan {n}" for n in range(5)]
    assert facts["errors"][0]["symbol"] == "BTCUSDT"
    assert [each["severity"] for each in told(own_agent, "--severity", "high")["errors"]] == ["high"] * 3
    assert told(own_agent, "--component", "nobody")["errors"] == []
    (kind,) = told(own_agent, "kinds")["patterns"]
    assert (kind["component"], kind["error_type"], kind["count"]) == ("strategy", "ModelError", 5)


def test_severity_comes_from_the_bot_the_configuration_or_the_kind(client: jackstay.Client) -> None:
    """In this order; a word that is no severity says nothing."""

    def severity(error_type: str, said: str | None = None) -> str:
        words = {"component": error_type, "operation": "x", "error_type": error_type, "severity": said}
        return str(client.report_error("why", **words)["severity"])

    assert severity("RateError", "low") == "low"
    assert severity("RateError") == "high"
    assert severity("StateConsistencyError") == "critical"
    assert severity("ConnectionResetError") == "high"
    assert severity("KeyError") == "medium"
    assert severity("ccxt.RateError") == "high"


def test_what_venues_answer_is_there_too(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """By cause, with the operation and whose it was; a success is no error."""
    assert place(client, sandbox, "fine").status == 200
    assert client.request("GET", f"{HOST}/api/v3/ticker/price?symbol=NONE").status == 400
    sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=1)
    client.request("GET", f"{HOST}/api/v3/time", deadline_s=0.3)
    rejected, limited = told(own_agent, "--component", "api.binance.com")["errors"]
    assert rejected["operation"] == "GET /api/v3/ticker/price"
    assert rejected["bot"] == "e2e"
    assert limited["error_type"] == "rate_limited"
    shown = cli("errors", runtime_dir=own_agent.runtime_dir).stdout
    assert "rate_limited" in shown


def test_an_operator_follows_from_where_it_stands(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """Each error once, as it comes, one JSON object a line; the end of the agent ends it with code 3."""
    client.report_error("before", component="a", operation="x", error_type="KeyError")
    words = [sys.executable, "-m", "jackstay_agent.cli", "errors", "--follow", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=own_agent.env, bufsize=1) as reader:
        assert reader.stdout is not None
        try:
            assert json.loads(reader.stdout.readline())["message"] == "before"
            for number in range(3):
                client.report_error(f"live {number}", component="a", operation="x", error_type="KeyError")
            assert [json.loads(reader.stdout.readline())["message"] for _ in range(3)] == ["live 0", "live 1", "live 2"]
            own_agent.stop()
            assert reader.wait(10) == 3
        finally:
            reader.kill()


def test_no_secret_of_a_report_is_kept(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """Message and causes are shown without the signed URL that a library put into them."""
    try:
        try:
            raise ConnectionError("GET https://x.test/?timestamp=1&signature=0123456789abcdef")
        except ConnectionError as error:
            raise RuntimeError("login with password=hunter2hunter2 failed") from error
    except RuntimeError as error:
        client.report_error(error, component="data", operation="read")
    shown = json.dumps(told(own_agent)) + own_agent.log()
    assert "hunter2hunter2" not in shown
    assert "0123456789abcdef" not in shown
    assert "login with" in shown


def test_wrong_words_are_refused(own_agent: AgentProcess) -> None:
    """A count that is none, a severity that is none."""
    door = own_agent.runtime_dir / own_agent.name / "control.sock"
    for args in ({"count": -1}, {"count": "x"}, {"after": True}, {"severity": "loud"}):
        with pytest.raises(Refused, match="is expected"):
            ask(door, "errors.list", args)
    assert cli("errors", "--severity", "loud", runtime_dir=own_agent.runtime_dir).returncode == 2
