"""Structured logs for bot code."""

import json
import subprocess
import sys

import pytest
import structlog

from jackstay_agent.log import get_logger


@pytest.fixture(autouse=True)
def _own_structlog():
    """Each test meets an unconfigured structlog and leaves one."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_lines_go_to_stderr_as_json(capsys):
    """Event, level, logger, bound and given fields; nothing on stdout, which is the bot's."""
    log = get_logger("bot.exchange").bind(symbol="BTCUSDT")
    log.debug("not.shown")
    for level in ("info", "warning", "error", "critical"):
        getattr(log, level)("order.sent", quantity="1.5")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("order.failed")
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert [line["level"] for line in lines] == ["info", "warning", "error", "critical", "error"]
    assert (lines[0]["event"], lines[0]["logger"], lines[0]["symbol"]) == ("order.sent", "bot.exchange", "BTCUSDT")
    assert "ValueError: why" in lines[-1]["exception"]


def test_a_configured_structlog_is_obeyed():
    """The process's own processors get the facts."""
    seen = []

    def keep(logger, name, event):
        seen.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    get_logger("x").info("a.fact", n=1)
    assert seen == [{"logger": "x", "event": "a.fact", "n": 1}]


def test_importing_the_public_names_loads_no_socket_loop_or_logger():
    """A bot's module may import them at its top; structlog comes with the first line."""
    code = (
        "import sys; from jackstay_agent.error_handler import CircuitBreaker, ErrorHandler, error_handler_decorator;"
        "from jackstay_agent.decorators import retry; from jackstay_agent.log import get_logger;"
        "from jackstay_agent.recovery_scenarios import RecoveryScenario; get_logger('x');"
        "print([m for m in ('zmq', 'structlog', 'asyncio', 'socket', 'ssl', 'sqlite3', 'logging') if m in sys.modules])"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout == "[]\n"
