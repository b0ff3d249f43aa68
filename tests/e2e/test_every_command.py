"""Every command of `jackstay` in one table: its help shows an example, its JSON parses, its exit codes are right.

A new command that is not in the table fails the first test. Rows run top to bottom against one agent: what a row needs
stands above it. In this process, for seventy commands would cost a minute as processes; the command line as a
process is what test_command_line.py and test_fleet.py are about.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from e2e_bot import client_for, order_request, place, routed
from harness import AgentProcess, child_env
from jackstay_agent.cli import main
from jackstay_agent.cli.fan_out import ADDRESSED, ALONE, GATHERING, LOOKING
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import OutcomeUnknown


@dataclass(frozen=True)
class Row:
    """``args`` after the command's name, None: not run here, for ``why``. ``code``: at an agent that has an unknown
    order. ``alone``: where no agent is. ``form``: json (one value with --json), lines (JSON lines with it), own (JSON
    or text without being asked). ``changes``: it changes something, so `--all` is careful with it."""

    args: str | None = ""
    code: int = 0
    alone: int | None = 3
    form: str = "json"
    changes: bool = False
    why: str = ""


def look(args: str = "", code: int = 0, form: str = "json") -> Row:
    return Row(args, code, form=form)


def change(args: str, code: int = 0) -> Row:
    return Row(args, code, changes=True)


def local(args: str, code: int = 0, form: str = "json") -> Row:
    """Asks no agent."""
    return Row(args, code, alone=None, form=form)


def elsewhere(why: str, form: str = "own") -> Row:
    return Row(None, alone=None, form=form, why=why)


SANDBOX = local("--url {exchange}", form="own")
TABLE: dict[str, Row] = {
    "status": look("{agent}", 1),
    "watch": Row("{agent} --count 1", 1, alone=None, form="lines"),
    "version": local(""),
    "why": look("unknown-1"),
    "orders unknown": look(),
    "orders resolve": change("{unknown} --absent --why looked"),
    "queue list": look(),
    "queue show": look("{queued}"),
    "queue hold": change("{queued}"),
    "queue export": look(form="lines"),
    "queue drop": change("{queued} --why twice"),
    "queue release": change("--all"),
    "bot list": look(),
    "bot hold": change("e2e --for 1m --why breakpoint"),
    "bot release": change("e2e"),
    "bot expect-restart": change("e2e --within 1m"),
    "watchdog": look(),
    "arm": change("{agent} --preset observe --why test"),
    "barrier": look(),
    "barrier release": change("e2e --why looked", 1),
    "cancel": change("--class entry --why test --yes --expect 99", 1),
    "deadman status": look(),
    "deadman arm": change("binance --window 60s --dry-run", 1),
    "deadman disarm": change("binance --why test", 1),
    "recover": look(),
    "recover run": change("network_disconnection venue=binance"),
    "recover cancel": change("partial_fill", 1),
    "breakers": look(),
    "breakers list": look(),
    "breakers trip": change("binance --class orders --for 1m --why test"),
    "breakers reset": change("binance --why test"),
    "breakers disable": change("binance --for 1m --why test"),
    "limits": look(),
    "limits release": change("binance --why test"),
    "limits unstop": change("binance --why test"),
    "mode": look(),
    "mode hold": change("binance conservative --for 1m --why test"),
    "mode release": change("binance --why test"),
    "errors": look(),
    "errors kinds": look(),
    "patterns list": look("{agent}"),
    "patterns show": look("P0 {agent}", 1),
    "patterns ack": change("P0 {agent}", 1),
    "trends": look("{agent}"),
    "connections list": look(),
    "connections show": look("https://api.binance.com"),
    "connections rotate": change("https://api.binance.com"),
    "connections drain": change("https://api.binance.com"),
    "feeds list": look(),
    "feeds show": look("spot"),
    "feeds tail": look("spot btcusdt@bookTicker --count 1 --for-silence 10", form="lines"),
    "state check": look("--component queue"),
    "state summary": look(),
    "state diff": look(),
    "state history": look(),
    "state reconcile": change("--dry-run"),
    "audit verify": local("{agent} --runtime-dir {runtime} --no-journal"),
    "audit export": local("{agent} --runtime-dir {runtime}", form="lines"),
    "report": local("{agent} --runtime-dir {runtime} --since 5m"),
    "config init": local("fresh2 --venue binance --config-dir {folder}"),
    "config check": local("{config}"),
    "config show": local("{agent} -c {config} --effective --origin"),
    "keys list": local("{agent} -c {keyed}"),
    "keys check": local("{agent} -c {keyed}"),
    "keys add": elsewhere("reads a key: tests/e2e/test_adopt_commands.py", form="json"),
    "init": local("fresh --venue binance --config-dir {folder}"),
    "completion": local("bash", form="own"),
    "run": elsewhere("runs until it is stopped: tests/e2e/test_command_line.py"),
    "exec": elsewhere("runs a bot, its output is the bot's: tests/e2e/test_command_line.py"),
    "rehearse": elsewhere("runs a bot: tests/e2e/test_adopt_commands.py", form="json"),
    "doctor": local("{agent} --offline"),
    "logs": local("{agent} --runtime-dir {runtime} -n 5", form="lines"),
    "bench": elsewhere("measures a machine: tests/e2e/test_bench_command.py", form="json"),
    "demo": elsewhere("a minute of processes: make demo", form="lines"),
    "sandbox": elsewhere("runs until it is stopped: tests/agent/sandbox"),
    "sandbox checks": SANDBOX,
    "sandbox clock": local("--url {exchange} 0", form="own"),
    "sandbox fault": local("--url {exchange} clear", form="own"),
    "sandbox fill": local("--url {exchange} 999999", 1, form="own"),
    "sandbox hours": local("--url {exchange} BTCUSDT", form="own"),
    "sandbox ledger": SANDBOX,
    "sandbox mode": local("--url {exchange} online", form="own"),
    "sandbox price": local("--url {exchange} BTCUSDT 60000", form="own"),
    "sandbox sockets": SANDBOX,
    "sandbox reset": SANDBOX,
    "reload": change("{agent}"),
    "upgrade": look("{agent} --check"),
    "handover": elsewhere("becomes another process: tests/e2e/test_upgrade.py", form="json"),
    "rollback": elsewhere("wants a stopped agent and a schema step: tests/e2e/test_upgrade.py", form="json"),
    "systemd install": local("fresh --root {folder}/image --program /usr/bin/env --dry-run"),
    "stop": change("{agent}"),
}


def every_command() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Each that does something: leaves, and groups that do without a subcommand."""

    def walk(command: click.Command, path: list[str], above: click.Context | None) -> Any:
        here = click.Context(command, parent=above, info_name=path[-1] if path else "jackstay")
        if isinstance(command, click.Group):
            if command.invoke_without_command and path:
                yield " ".join(path), command, here
            for name in command.list_commands(here):
                below = command.get_command(here, name)
                assert below is not None
                yield from walk(below, [*path, name], here)
        else:
            yield " ".join(path), command, here

    yield from walk(main, [], None)


COMMANDS = {path: (command, context) for path, command, context in every_command()}
RUNNABLE = [path for path, row in TABLE.items() if row.args is not None]


@dataclass
class World:
    agent: AgentProcess
    names: dict[str, str]

    def run(self, words: list[str], runtime: Path | None = None) -> Result:
        env = child_env() | {"JACKSTAY_RUNTIME_DIR": str(runtime or self.agent.runtime_dir)}
        return CliRunner().invoke(main, words, env=env | {"COLUMNS": "120"})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """An agent with a bot, an order, an unknown one, and one that is queued and held."""
    with SandboxProcess(seed=1) as exchange, tempfile.TemporaryDirectory(prefix="js-") as folder:
        stream = exchange.ws_url.removesuffix("/ws") + "/stream"
        feed = f'[feeds.spot]\nurl = "{stream}"\ndialect = "binance"\n[venues.binance]\nlive = false\n'
        keyed = Path(folder) / "keyed.toml"
        keyed.write_text(routed(exchange.url, '[venues.binance]\nlive = false\nkeys = { env = "SANDBOX" }\n'))
        with AgentProcess(routed(exchange.url, feed)) as agent, client_for(agent) as client:
            assert place(client, exchange, "known-1").ok
            exchange.admin.fault("reset_before", route="POST /api/v3/order", count=1)
            with pytest.raises(OutcomeUnknown):
                place(client, exchange, "unknown-1")
            names = {
                "agent": agent.name,
                "runtime": str(agent.runtime_dir),
                "exchange": exchange.url,
                "folder": folder,
                "config": str(agent.config_path),
                "keyed": str(keyed),
                "unknown": client_unknown(agent),
                "queued": queued(agent, client, exchange),
            }
            yield World(agent, names)


def client_unknown(agent: AgentProcess) -> str:
    found = World(agent, {}).run(["orders", "unknown", "--json"])
    (row,) = json.loads(found.stdout)["unknown"]
    return str(row["id"])


def queued(agent: AgentProcess, client: Any, exchange: SandboxProcess) -> str:
    """An accepted request that has not left: the venue is away."""
    exchange.admin.mode("maintenance")
    method, url, headers, body = order_request("queued-1")
    client.post(method, url, headers=headers, body=body, ttl_s=600.0)
    (row,) = json.loads(World(agent, {}).run(["queue", "list", "--json"]).stdout)["queued"]
    assert World(agent, {}).run(["queue", "hold", row["id"]]).exit_code == 0
    exchange.admin.mode("online")
    return str(row["id"])


# ---------------------------------------------------------------- the table


def test_every_command_is_in_the_table() -> None:
    """A new command gets its row, one that went loses it."""
    assert set(TABLE) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_help_says_what_it_does_and_shows_an_example_that_parses(path: str) -> None:
    """`-h` is exit 0; at least one line of it is this command as one would type it, and it would be understood."""
    command, context = COMMANDS[path]
    shown = CliRunner().invoke(main, [*path.split(), "-h"])
    assert shown.exit_code == 0
    text = command.get_help(context)
    lines = [line.strip() for line in text.splitlines()[1:]]
    examples = [line for line in lines if f"{line} ".startswith(f"jackstay {path} ")]
    assert examples, f"'jackstay {path} -h' shows no example"
    assert len(lines) > 4
    for example in examples:
        words = shlex.split(example.split("   ")[0].split(" > ")[0].split(" < ")[0].split(" | ")[0])[
            1 + len(path.split()) :
        ]
        command.make_context(path, words, parent=context.parent)


@pytest.mark.parametrize("path", COMMANDS)
def test_a_wrong_option_is_exit_two(path: str) -> None:
    """Wrong usage is 2 everywhere; commands that run another's words are wrong without any."""
    words = [] if path in ("exec", "rehearse") else ["--no-such-option"]
    assert CliRunner().invoke(main, [*path.split(), *words]).exit_code == 2


@pytest.mark.parametrize("path", [path for path, row in TABLE.items() if row.alone is not None])
def test_without_an_agent_it_is_exit_three(path: str, tmp_path: Path) -> None:
    """Nothing on stdout, one line on stderr: no agent is never taken for an answer."""
    row = TABLE[path]
    assert row.args is not None
    names = {"agent": "ghost", "unknown": "1", "queued": "1", "runtime": str(tmp_path)}
    world = World(AgentProcess(runtime_dir=tmp_path), names)
    done = world.run([*path.split(), *shlex.split(row.args.format(**names))], tmp_path)
    assert done.exit_code == row.alone, done.output
    assert not done.stdout
    assert done.stderr.startswith("jackstay: ")


@pytest.mark.parametrize("path", RUNNABLE)
def test_it_runs_and_its_json_parses(path: str, world: World) -> None:
    """The exit code of the table, and on stdout what a program can read."""
    row = TABLE[path]
    assert row.args is not None
    words = [*path.split(), *shlex.split(row.args.format(**world.names))]
    if row.form != "own":
        words.append("--json")
    done = world.run(words)
    assert done.exit_code == row.code, f"{done.output}\n{done.exception!r}"
    if row.form == "own" or (row.code and not done.stdout):
        assert done.stdout or done.stderr.startswith(("jackstay: ", "Error: "))
    elif row.form == "lines":
        assert [json.loads(line) for line in done.stdout.splitlines()]
    else:
        assert isinstance(json.loads(done.stdout), dict | list)


def test_every_reading_command_has_json() -> None:
    """What is not `own` in the table has the option."""
    without = {
        path for path, (command, _) in COMMANDS.items() if not any("--json" in each.opts for each in command.params)
    }
    assert without == {path for path, row in TABLE.items() if row.form == "own"}


def test_all_knows_which_commands_change_something() -> None:
    """`--all` is careful with exactly those that the table calls changing; what it names is there."""
    asked = {path for path, (command, _) in COMMANDS.items() if any(each.name == "name" for each in command.params)}
    changing = {path for path in asked - ALONE if path not in LOOKING}
    assert changing == {path for path, row in TABLE.items() if row.changes}
    assert (LOOKING | set(ADDRESSED) | ALONE | GATHERING) <= set(TABLE)
