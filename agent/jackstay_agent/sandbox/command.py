"""`jackstay sandbox`: run the simulated exchange, and rehearse with it from a second terminal."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from .process import SandboxAdmin, SandboxRefused

DEFAULT_URL = "http://127.0.0.1:8787"


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8787, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--seed", default=1, show_default=True, help="Decides all chance: market and faults.")
@click.option("--state", type=click.Path(path_type=Path), help="File that keeps orders, balances and ledger.")
@click.option("--quiet", is_flag=True, help="No background market: prices stand still.")
@click.option("--tick-ms", default=50.0, show_default=True, help="How often the background market moves.")
@click.option("--no-weights", is_flag=True, help="Count request weights, but refuse nobody.")
@click.option("--account", "accounts", multiple=True, metavar="KEY:SECRET[:ACCOUNT[:PERMISSIONS[:nonce[=WINDOW]]]]",
              help="An API key; permissions joined by + of read, cancel, trade, withdraw. With nonce every face wants"
              " rising nonces of it, WINDOW below the highest one forgiven.")  # fmt: skip
@click.option("--unix", type=click.Path(path_type=Path), help="Listen on this unix socket too (plain HTTP).")
@click.option("--tls", is_flag=True, help="Serve TLS under a throw-away CA (its file is in the ready line).")
@click.pass_context
def sandbox_group(context: click.Context, /, **options: Any) -> None:
    """A simulated exchange with faults on demand.

    Prints one JSON line when it listens. Default API key: sandbox-key, secret: sandbox-secret.

    \b
    jackstay sandbox                                    run it
    jackstay sandbox fault reset_after --route "POST /api/v3/order" --count 1
    jackstay sandbox ledger --path /api/v3/order        what it received
    jackstay sandbox reset                              as on the first day
    """
    if context.invoked_subcommand is None:
        run(options)


def run(options: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT."""
    from .accounts import parse_account

    try:
        keys = [parse_account(text) for text in options["accounts"]]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--account") from None
    # Orders and ledger rows live long and hold no cycles: collecting young objects rarely is worth a third of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    runner = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    runner(_serve(options, keys))


async def _serve(options: dict[str, Any], keys: list[Any]) -> None:
    from .server import SandboxServer
    from .state import StateFile
    from .tls import throw_away
    from .venue import Venue

    venue = Venue(seed=options["seed"], keys=keys or None, enforce_limits=not options["no_weights"])
    state = StateFile(options["state"], venue) if options["state"] else None
    server = SandboxServer(venue, state=state, quiet=options["quiet"], tick_s=options["tick_ms"] / 1000)
    tls = throw_away(options["host"]) if options["tls"] else None
    try:
        port = await server.start(options["host"], options["port"], tls.context if tls else None, options["unix"])
    except OSError as error:
        raise click.ClickException(f"cannot listen on {options['host']}:{options['port']}: {error.strerror}") from None
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    scheme, host = ("s" if tls else ""), options["host"]
    ready = {"ready": True, "port": port, "url": f"http{scheme}://{host}:{port}",
             "ws_url": f"ws{scheme}://{host}:{port}/ws", "pid": os.getpid()}  # fmt: skip
    if tls:
        ready["ca_file"] = tls.ca_file
    print(json.dumps(ready), flush=True)
    await stopping.wait()
    await server.stop()
    if tls:
        tls.remove()


def _url(command: Any) -> Any:
    return click.option("--url", default=DEFAULT_URL, show_default=True, envvar="JACKSTAY_SANDBOX_URL")(command)


def _told(call: Any) -> Any:
    """The administration's answer; its refusals and an absent sandbox as one clear line."""
    try:
        return call()
    except SandboxRefused as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"no sandbox answers there ({error}): start one with `jackstay sandbox`") from None


@sandbox_group.command("fault")
@click.argument("kind")
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--route", help='Which requests: "POST /api/v3/order", or the beginning of a path. All when absent.')
@click.option("--probability", default=1.0, show_default=True)
@click.option("--count", type=int, help="How often it strikes; for ever when absent.")
@_url
def fault_command(
    kind: str, params: tuple[str, ...], route: str | None, probability: float, count: int | None, url: str
) -> None:
    """Arm a fault of KIND, or `clear` all. Values are JSON where they can be: ms=250 headers='[["A","b"]]'."""
    admin = SandboxAdmin(url)
    if kind == "clear":
        _told(admin.clear)
        click.echo("all faults cleared")
        return
    given = dict(_parameter(text) for text in params)
    click.echo(_told(lambda: admin.fault(kind, route=route, probability=probability, count=count, **given)))


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@sandbox_group.command("ledger")
@click.option("--path", help="Only this path; a * at its end takes all that begin so.")
@click.option("--method")
@click.option("--client-order-id")
@click.option("--since", type=int, default=0, help="Only rows after this sequence number.")
@_url
def ledger_command(url: str, **filters: Any) -> None:
    """Everything the exchange received, one JSON object a line."""
    for row in _told(lambda: SandboxAdmin(url).ledger(**filters)):
        click.echo(json.dumps(row))


@sandbox_group.command("checks")
@_url
def checks_command(url: str) -> None:
    """Verdicts over the ledger; exit code 1 when one found something."""
    found = _told(SandboxAdmin(url).checks)
    click.echo(json.dumps(found, indent=2))
    if any(found.values()):
        sys.exit(1)


@sandbox_group.command("reset")
@_url
def reset_command(url: str) -> None:
    """Orders, balances, faults, ledger and counters as on the first day."""
    _told(SandboxAdmin(url).reset)
    click.echo("reset")
