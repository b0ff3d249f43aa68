"""`jackstay sandbox`: run a simulated exchange, arm faults in it, read its ledger."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from .faults import KINDS
from .process import SandboxAdmin, SandboxError

DEFAULT_URL = "http://127.0.0.1:9870"


def url_option(function: Any) -> Any:
    return click.option("--url", default=DEFAULT_URL, show_default=True, help="The running sandbox.")(function)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=9870, show_default=True, help="0: any free port, told in the ready line.")
@click.option("--seed", default=1, show_default=True, help="Of the background market and of faults.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="File that orders survive a stop in.")
@click.option("--quiet", is_flag=True, help="No background market: prices move only when somebody trades.")
@click.option("--weights", is_flag=True, help="Enforce request weights and order counts (429, then 418).")
@click.option("--weight-1m", default=6000, show_default=True, help="Request weight per minute.")
@click.option("--orders-10s", default=100, show_default=True, help="Orders per ten seconds.")
@click.option("--clock-offset-ms", default=0, show_default=True, help="The venue's clock is off by this.")
@click.option("--account", "accounts", multiple=True, help="KEY:SECRET[:read,trade[:OWNER]]; may be repeated.")
@click.option("--unix", type=click.Path(dir_okay=False, path_type=Path), help="Listen on this unix socket too.")
@click.option("--tls", is_flag=True, help="HTTPS with a throw-away authority; its file is in the ready line.")
@click.pass_context
def sandbox_group(ctx: click.Context, /, accounts: tuple[str, ...], **options: Any) -> None:
    """Run a simulated exchange (Binance spot shape) to rehearse a bot against.

    \b
    jackstay sandbox                                   serve on 127.0.0.1:9870
    jackstay sandbox fault reset_after --route "POST /api/v3/order" --count 3
    jackstay sandbox ledger --method POST
    """
    if ctx.invoked_subcommand is not None:
        return
    from .server import Settings

    if accounts:
        options["keys"] = [_key(each) for each in accounts]
    settings = Settings(**options)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


def _key(text: str) -> Any:
    from .faces.binance_spot import ApiKey

    parts = text.split(":")
    if len(parts) < 2 or not parts[0] or not parts[1]:
        raise click.UsageError(f"--account {text!r}; KEY:SECRET[:read,trade[:OWNER]] is expected")
    permissions = frozenset(parts[2].split(",")) if len(parts) > 2 and parts[2] else frozenset({"read", "trade"})
    return ApiKey(parts[0], parts[1], parts[0], parts[3] if len(parts) > 3 else "account", permissions)


async def _serve(settings: Any) -> None:
    import os

    from .server import Sandbox

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sandbox = Sandbox(settings)
    facts = await sandbox.start()
    print(json.dumps(facts | {"pid": os.getpid()}), flush=True)
    await stop.wait()
    await sandbox.stop()


@sandbox_group.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.option("--route", default="", help='"POST /api/v3/order", or a path prefix; default: every request.')
@click.option("--probability", default=1.0, show_default=True)
@click.option("--count", type=int, help="Strike this often, then disarm.")
@click.option("--set", "pairs", multiple=True, help="Further parameters: NAME=VALUE (JSON or text).")
@url_option
def fault(kind: str, route: str, probability: float, count: int | None, pairs: tuple[str, ...], url: str) -> None:
    """Arm a fault; prints its id.

    \b
    jackstay sandbox fault latency --set ms=300 --set jitter_ms=200
    jackstay sandbox fault rate_limit --count 1 --set retry_after_s=5
    """
    params: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set {pair!r}; NAME=VALUE is expected")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    click.echo(
        _or_exit(lambda: SandboxAdmin(url).fault(kind, route=route, probability=probability, count=count, **params))
    )


@sandbox_group.command()
@click.argument("fault_id", required=False)
@url_option
def clear(fault_id: str | None, url: str) -> None:
    """Disarm one fault, or all."""
    click.echo(f"{_or_exit(lambda: SandboxAdmin(url).clear(fault_id))} disarmed")


@sandbox_group.command()
@click.option("--method", help="Only this method.")
@click.option("--path", help="Only this path.")
@click.option("--client-order-id", help="Only this order.")
@click.option("--checks", is_flag=True, help="Ready answers: sent twice, executed twice, after the gate.")
@url_option
def ledger(url: str, checks: bool, **filters: str | None) -> None:
    """Print what the exchange received, one JSON row a line."""
    admin = SandboxAdmin(url)
    if checks:
        click.echo(json.dumps(_or_exit(admin.checks), indent=2))
        return
    for row in _or_exit(lambda: admin.ledger(**{key: value for key, value in filters.items() if value})):
        click.echo(json.dumps(row))


@sandbox_group.command()
@url_option
def reset(url: str) -> None:
    """A fresh venue: orders, balances, faults, ledger, counters."""
    _or_exit(SandboxAdmin(url).reset)
    click.echo("fresh")


def _or_exit(ask: Any) -> Any:
    try:
        return ask()
    except SandboxError as error:
        click.echo(f"jackstay: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"jackstay: no sandbox answers: {error}", err=True)
        sys.exit(3)
