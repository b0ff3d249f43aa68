"""`jackstay status`, `stop` and `version`: what an agent sees, for people and for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from ..control import ask
from .bots import unacknowledged
from .target import ask_agent, existing_agent, runtime_dir_option


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="The whole status as one JSON object.")
@click.option("--timeout", "timeout_s", default=3.0, show_default=True, help="Seconds to wait for an answer.")
def status(name: str | None, runtime_dir: Path | None, as_json: bool, timeout_s: float) -> None:
    """Show what the agent NAME sees (the only one, when there is one). Exit code 3: no agent."""
    paths = existing_agent(name, runtime_dir)
    began = time.perf_counter()
    facts = ask(paths.control, "status", timeout_s=timeout_s)
    facts["answered_ms"] = round((time.perf_counter() - began) * 1000, 3)
    if as_json:
        click.echo(json.dumps(facts, indent=2, default=str))
    else:
        _show(facts)


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def stop(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Ask the agent NAME to drain and stop."""
    facts = ask_agent(name, runtime_dir, "stop")
    click.echo(json.dumps(facts) if as_json else f"stopping; {facts['in_flight']} requests in flight are seen through")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def version(as_json: bool) -> None:
    """Versions of jackstay, its wire and the libraries under it."""
    import platform
    import sqlite3

    import zmq

    from jackstay_protocols.limits import WIRE_VERSION, WIRE_VERSION_MIN

    from ..app import version as own_version

    facts = {
        "jackstay": own_version(),
        "wire": WIRE_VERSION,
        "wire_min": WIRE_VERSION_MIN,
        "python": platform.python_version(),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    click.echo(json.dumps(facts) if as_json else "\n".join(f"{key:9} {value}" for key, value in facts.items()))


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"[bold]{facts['agent']}[/bold] {facts['state']} · {facts['version']} · pid {facts['pid']}"
        f" · up {facts['uptime_s']:.0f} s · grade {facts['grade']} · preset {facts['preset']}"
        f" · answered in {facts['answered_ms']} ms"
    )
    counters = facts["requests"]
    if facts["preset"] != "observe":
        for each in facts["powers"]["problems"]:
            console.print(f"[bold red]WARNING[/bold red] preset {facts['preset']} is armed, and {each}", markup=True)
    console.print(" · ".join(f"{key} {value}" for key, value in counters.items()))
    bots = Table(title="bots", title_justify="left", box=None, pad_edge=False)
    for column in ("bot", "pid", "state", "silent s", "lease s", "in flight"):
        bots.add_column(column)
    for bot in facts["bots"]:
        bots.add_row(
            bot["bot"],
            str(bot["pid"]),
            bot["state"],
            f"{bot['silent_s']:.1f}",
            f"{bot['lease_s']:.1f}",
            str(bot["in_flight"]),
        )
    console.print(bots if facts["bots"] else "bots: none connected yet")
    for bot_id, rows in facts["directives"].items():
        for line in unacknowledged(rows):
            console.print(f"{bot_id}: {line}")
    if facts["upstreams"]:
        table = Table(title="upstreams", title_justify="left", box=None, pad_edge=False)
        table.add_column("origin")
        table.add_column("profile")
        table.add_column("pool")
        for origin, each in facts["upstreams"].items():
            pool = ", ".join(
                f"{key} {value}"
                for key, value in each["pool"].items()
                if isinstance(value, int | float | str) and value
            )
            table.add_row(origin, each["profile"], pool)
        console.print(table)
    for feed, each in facts["feeds"].items():
        console.print(f"feed {feed}: {each}")
