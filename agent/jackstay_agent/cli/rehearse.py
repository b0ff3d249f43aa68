"""`jackstay rehearse NAME -- BOT…`: the bot as it is, the exchange simulated in its venue's shape."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from jackstay_protocols import endpoints

from ..config import Config, profiles_of
from .exec import Pair
from .root import EXIT_UNHEALTHY

#: Asked by ccxt's first questions although no profile is for them; here they are the sandbox too, never the network.
SIBLINGS = ("dapi.binance.com", "eapi.binance.com", "papi.binance.com")


@click.command()
@click.argument("name")
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND[@ROUTE]", help="Strikes once; `jackstay sandbox fault --help`."
)
@click.option("--seed", default=1, show_default=True, help="Decides all chance of the simulated exchange.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as one JSON line on stderr.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def rehearse(name: str, faults: tuple[str, ...], seed: int, as_json: bool, command: tuple[str, ...]) -> None:
    """Run a bot through an agent against the sandbox: every host of every venue leads there, nothing real is reached.

    The bot's URLs stay as they are; its keys are the sandbox's (docs/SANDBOX.md): they stand in SANDBOX_KEY and
    SANDBOX_SECRET. Ends with the bot's exit code, or 1 when the exchange's own ledger shows an order sent twice.

    \b
    jackstay rehearse mybot -- python bot.py
    jackstay rehearse mybot --fault "reset_after@POST /api/v3/order" -- python bot.py
    """
    try:
        from ..sandbox import SandboxProcess
    except ModuleNotFoundError as error:
        raise click.ClickException(f"a rehearsal needs {error.name}: pip install 'jackstay[sandbox]'") from error
    endpoints.check_agent_name(name)
    with tempfile.TemporaryDirectory(prefix="js-") as folder, SandboxProcess(seed=seed) as exchange:
        for fault in faults:
            kind, _, route = fault.partition("@")
            exchange.admin.fault(kind, route=route or None, count=1)
        config = Path(folder) / f"{name}.toml"
        config.write_text(rehearsal_config(exchange.url), encoding="utf-8")
        agent = [
            sys.executable,
            "-m",
            "jackstay_agent.cli",
            "run",
            name,
            "--runtime-dir",
            folder,
            "--config",
            str(config),
        ]
        keys = {"SANDBOX_KEY": "sandbox-key", "SANDBOX_SECRET": "sandbox-secret"}
        code = Pair(agent, list(command), name, Path(folder), keys).run()
        found = {check: rows for check, rows in exchange.admin.checks().items() if rows}
        orders = len(exchange.admin.orders())
    verdict = {"bot_exit_code": code, "orders": orders, "found": sorted(found)}
    if as_json:
        click.echo(json.dumps(verdict), err=True)
    else:
        said = ", ".join(sorted(found)) or "nothing wrong by the exchange's ledger"
        click.echo(f"rehearsal: the bot ended with {code}; {orders} orders of spot accounts; {said}", err=True)
    sys.exit(code or (EXIT_UNHEALTHY if found else 0))


def rehearsal_config(url: str) -> str:
    """Every host that a shipped profile knows, REST and WebSocket, at the sandbox; the agent asks with its test key."""
    profiles = profiles_of(Config())
    hosts = sorted({*SIBLINGS} | {host for each in profiles.values() for host in each.hosts | each.socket_hosts})
    lines = ["[upstreams]", *(f'"{host}" = "{url}"' for host in hosts)]
    lines += ["[agent]", 'log_level = "warning"', "allow_hosts = [", *(f'  "{host}",' for host in hosts), "]"]
    for venue in ("binance", "binance-usdm", "bybit"):
        lines += [f"[venues.{venue}]", "live = false", f"[venues.{venue}.keys]", 'env = "SANDBOX"']
    return "\n".join(lines) + "\n"
