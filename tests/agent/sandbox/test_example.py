"""The rehearsals in docs/ run as printed, and the help page is enough to rehearse by."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.sandbox.faults import KINDS
from sandbox_client import Plain

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
PAGE = Path(__file__).parents[3] / "docs" / "SANDBOX.md"


class Bot:
    """A bot that loses its order's answer and, rightly, does not send it again."""

    def __init__(self, port: int) -> None:
        self._port = port

    def buy(self, name: str) -> None:
        sandbox = SandboxProcess(port=self._port)
        try:
            Plain(sandbox).place(name)
        except ConnectionError:
            pass


def test_the_printed_example_runs() -> None:
    """The page's Python example runs against a bot and its assertions hold."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, "docs/SANDBOX.md", "exec"), {"start_my_bot": lambda url: Bot(int(url.rpartition(":")[2]))})


@pytest.mark.parametrize(
    ("bot", "code", "orders", "complaint"), [("careless", 1, 2, "equal_while_unknown"), ("careful", 0, 1, "")]
)
def test_the_example_finds_out_a_careless_bot(bot: str, code: int, orders: int, complaint: str) -> None:
    """docs/examples/rehearsal.py: the bot that buys again without asking is found out, the one that asks is not."""
    done = subprocess.run([sys.executable, str(EXAMPLES / "rehearsal.py"), bot], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")
    assert f"orders at the venue: {orders}" in done.stdout
    assert complaint in done.stdout


def cli(*words: str, url: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jackstay_agent.cli", *words]
    environment = os.environ | {"JACKSTAY_SANDBOX_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_help_page_is_enough(sandbox: SandboxProcess) -> None:
    """Its commands, run as printed against a running sandbox, do what it says; so does what else it lists."""
    page = cli("sandbox", "--help").stdout
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("  jackstay sandbox ")]
    assert [words[1] for words in commands] == ["fault", "ledger", "checks", "mode", "reset"]
    told = []
    for words in commands:
        done = cli(*words, url=sandbox.url)
        assert (done.returncode, done.stderr) == (0, ""), words
        told.append(done.stdout)
        if words[1] == "fault":
            with pytest.raises(ConnectionError):
                Plain(sandbox).place("rehearsed")
    assert '"status": "reset"' in told[1]
    assert '"executed": true' in told[1]
    assert sandbox.admin.orders() == []  # reset
    assert sandbox.admin.ledger() == []


def test_the_other_commands(sandbox: SandboxProcess) -> None:
    """Hours, sockets, clock, price, fill and the stream ledger from a terminal; nonsense is one clear line."""
    number = str(Plain(sandbox).place("x")["orderId"])
    for words, expected in (
        (("hours", "BTCUSDT"), "BTCUSDT is open now"),
        (("sockets", "ping_every_s=20", "--door", "spot"), '"ping_every_s": 20'),
        (("clock", "-250"), "-250 ms"),
        (("clock", "0"), "0 ms"),
        (("price", "ETHUSDT", "3100"), "ETHUSDT 3100"),
        (("fill", number, "0.004"), '"status": "PARTIALLY_FILLED"'),
        (("ledger", "--streams"), ""),
    ):
        done = cli("sandbox", *words, url=sandbox.url)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert expected in done.stdout
    for words, expected in (
        (("mode", "asleep"), "expected one of online"),
        (("fault", "nonsense"), "unknown fault kind"),
        (("fill", "999"), "expected the number of an order that rests"),
    ):
        done = cli("sandbox", *words, url=sandbox.url)
        assert done.returncode == 1
        assert expected in done.stderr
    help_page = cli("sandbox", "fault", "--help").stdout
    assert all(f"  {kind} " in help_page or f"  {kind}\n" in help_page for kind in KINDS)
