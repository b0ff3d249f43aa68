"""`jackstay bench`: this machine and this configuration against the simulated exchange, and what of it is slow."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

from jackstay_protocols import endpoints

from ..bench_config import measured_config
from ..bench_machine import described, late_by_s, percentile, swaps_s, syncs_s
from ..config import Config
from ..core.speed import SYNC, Judged, judge
from ..outbox.settings import DISK
from .root import EXIT_UNHEALTHY
from .target import config_option, load_config, own_paths

if TYPE_CHECKING:
    from ..demo.stage import DemoAgent

CALLS = 50  # of each kind and way in a round
BOT_S_MORE = 60.0


@click.command()
@click.argument("name", default="bot")
@config_option
@click.option("--seconds", type=click.FloatRange(0.1, 600.0), default=5.0, show_default=True, help="How long to trade.")
@click.option(
    "--tolerance", type=click.FloatRange(0.01, 1000.0), default=1.0, show_default=True, help="Multiplies every limit."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench(name: str, config_path: Path | None, seconds: float, tolerance: float, as_json: bool) -> None:
    """Measure this machine with agent NAME's configuration, and say what is slow.

    An agent of its own with NAME's queue, pools, audit log and overload settings trades with a simulated exchange on
    this machine, beside a bot that does without an agent. The running agent, its keys and every real venue are left
    alone; the journal is on the disk that NAME's is on, where that may be written. Ends 0 when nothing is slow, else 1.

    \b
    jackstay bench mybot
    jackstay bench -c ./mybot.toml --seconds 20 --json
    """
    config, origin = load_config(name, config_path)
    with tempfile.TemporaryDirectory(prefix="js-") as folder, _beside_the_journal(name) as state:
        values = _machine(Path(state)) | _traded(config, Path(folder), Path(state), seconds)
    rows = judge(values, synced=config.queue.durability == DISK, tolerance=tolerance)
    slow = [row.name for row in rows if row.slow]
    if as_json:
        told = {"machine": described(), "config": str(origin or "defaults"), "state_folder": str(Path(state).parent)}
        click.echo(json.dumps(told | {"rows": [asdict(row) for row in rows], "slow": slow}))
    else:
        _show(rows, described(), origin, Path(state).parent)
    sys.exit(EXIT_UNHEALTHY if slow else 0)


def _beside_the_journal(name: str) -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk of the agent's state folder; elsewhere when that is not there yet or not ours."""
    place = endpoints.state_folder(own_paths(name, None), os.environ)
    there = next((each for each in (place, *place.parents) if each.is_dir()), None)
    usable = there is not None and os.access(there, os.W_OK | os.X_OK)
    return tempfile.TemporaryDirectory(prefix=".bench-", dir=there if usable else None)


def _machine(state: Path) -> dict[str, float]:
    return {
        "a sleep of 2 ms is late by, p99": percentile(late_by_s(), 0.99) * 1e3,
        "a byte to another process and back, p50": percentile(swaps_s(), 0.5) * 1e6,
        SYNC: percentile(syncs_s(state), 0.5) * 1e3,
    }


def _traded(config: Config, folder: Path, state: Path, seconds: float) -> dict[str, float]:
    """Exchange, agent and bot as processes of their own, taken down in reverse order whatever happens."""
    try:
        from ..demo.stage import DemoAgent
        from ..sandbox import SandboxProcess
    except ModuleNotFoundError as error:
        raise click.ClickException(f"the bench needs {error.name}: pip install 'jackstay[sandbox]'") from error
    with SandboxProcess(seed=1, quiet=True) as exchange:
        agent = DemoAgent(folder, measured_config(config, exchange.url))
        agent.env |= {"STATE_DIRECTORY": str(state)}
        began = time.monotonic()
        try:
            agent.start()
            ready_ms = (time.monotonic() - began) * 1e3
            process = psutil.Process(agent.pid)
            before_s = sum(process.cpu_times()[:2])
            taken = _bot(agent, exchange.url, seconds)
            spent_s = sum(process.cpu_times()[:2]) - before_s
            memory_mb = process.memory_info().rss / 1e6
        finally:
            agent.stop()
    return {"start to ready": ready_ms, "memory of the agent": memory_mb} | _figures(taken, spent_s)


def _bot(agent: DemoAgent, url: str, seconds: float) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "jackstay.bench_bot", url, str(seconds), str(CALLS)],
        env=agent.env,
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds + BOT_S_MORE,
        check=False,
    )
    if done.returncode:
        raise click.ClickException("the bot of the bench ended early; its message stands above")
    taken: dict[str, list[float]] = json.loads(done.stdout)
    return taken


def _figures(taken: dict[str, list[float]], spent_s: float) -> dict[str, float]:
    def added_us(what: str, share: float) -> float:
        straight, through = taken[f"{what}, straight"], taken[f"{what}, through the agent"]
        return (percentile(through, share) - percentile(straight, share)) * 1e6

    calls = sum(len(each) for name, each in taken.items() if not name.endswith("straight"))
    return {
        "a beat to the agent and back, p50": statistics.median(taken["beat"]) * 1e6,
        "a beat to the agent and back, p99": percentile(taken["beat"], 0.99) * 1e6,
        "a question: added by the agent, p50": added_us("question", 0.5),
        "an order: added by the agent, p50": added_us("order", 0.5),
        "an order: added by the agent, p99": added_us("order", 0.99),
        "a cancel: added by the agent, p50": added_us("cancel", 0.5),
        "the agent's processor time per call": spent_s / calls * 1e6,
    }


def _show(rows: list[Judged], machine: dict[str, Any], origin: Path | None, state: Path) -> None:
    cpu, cores, load, python = (machine[key] for key in ("cpu", "cores", "load", "python"))
    click.echo(f"{cpu or 'this machine'}, {cores} cores, load {load}, Python {python}")
    click.echo(f"{origin or 'default configuration'}, journal below {state}")
    for row in rows:
        word, colour = ("SLOW", "red") if row.slow else ("ok", "green") if row.limit is not None else ("", "white")
        limit = f"limit {row.limit:g}" if row.limit is not None else ""
        click.echo(f"{click.style(f'{word:<4}', fg=colour)}  {row.name:<52}{row.value:>9.1f} {row.unit:<3} {limit}")
        if row.slow:
            click.echo(f"{'':6}mend: {row.mend}")
    slow = sum(row.slow for row in rows)
    click.echo(f"{slow} of {len(rows)} are slow" if slow else "nothing is slow")
