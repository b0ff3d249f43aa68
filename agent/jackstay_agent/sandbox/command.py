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
    """A simulated exchange with faults on demand, to rehearse a bot against.

    Without a command it runs until interrupted and prints one JSON line when it listens: its url, its ws_url. Lead
    your bot there instead of to Binance (REST /api, /fapi; streams /ws, /stream, /ws-api/v3), OKX (/api/v5, /ws/v5),
    Bybit (/v5) or Kraken (/0, /v2). API key sandbox-key, secret sandbox-secret (OKX: passphrase sandbox-passphrase;
    Kraken: secret c2FuZGJveC1zZWNyZXQ=); 100000 USDT, 10 BTC and 100 ETH; symbols BTC and ETH against USDT.

    A rehearsal, from a second terminal:

    \b
    jackstay sandbox fault reset_after --route "POST /api/v3/order" --count 1
        the next order is executed, and its answer is lost
    jackstay sandbox ledger --path /api/v3/order
        what the venue received, and what became of it
    jackstay sandbox checks
        did the bot send it twice? exit code 1 when something is wrong
    jackstay sandbox mode maintenance --for-s 10
        the venue goes down, and comes back
    jackstay sandbox reset
        as on the first day

    `jackstay sandbox fault --help` lists every fault with its parameters; docs/SANDBOX.md explains them.
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


class _FaultCommand(click.Command):
    """Its help page ends with every kind of fault; they are asked for only then, for they load the whole sandbox."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from .faces.meanings import MEANINGS
        from .faults import KINDS

        with formatter.section("Kinds, and what they take with its default (docs/SANDBOX.md explains them)"):
            for kind, given in KINDS.items():
                words = [f"{name}={'…' if value is None else json.dumps(value)}" for name, value in given.items()]
                formatter.write(f"{'':{formatter.current_indent}}{kind:17} {' '.join(words)}".rstrip() + "\n")
        with formatter.section("Names of venue_error"):
            formatter.write_text(", ".join(MEANINGS))


@sandbox_group.command("fault", cls=_FaultCommand)
@click.argument("kind")
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--route", help='Which requests: "POST /api/v3/order", or the beginning of a path. All when absent.')
@click.option("--probability", default=1.0, show_default=True)
@click.option("--count", type=int, help="How often it strikes; for ever when absent.")
@click.option("--symbol", default="", help="Only requests and streams of this symbol.")
@click.option("--connection", type=int, default=0, help="Only the connection of this number, as in the ledger.")
@_url
def fault_command(kind: str, params: tuple[str, ...], url: str, **where: Any) -> None:
    """Arm a fault of KIND, or `clear` all. Values are JSON where they can be: ms=250 headers='[["A","b"]]'."""
    admin = SandboxAdmin(url)
    if kind == "clear":
        _told(admin.clear)
        click.echo("all faults cleared")
        return
    given = dict(_parameter(text) for text in params)
    click.echo(_told(lambda: admin.fault(kind, **where, **given)))


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@sandbox_group.command("mode")
@click.argument("mode")
@click.option("--market", default="", help="spot, usdm or kraken; all of them when absent.")
@click.option("--symbol", default="", help="Only this symbol.")
@click.option("--for-s", type=float, default=0.0, help="Ends by itself after so many seconds.")
@_url
def mode_command(url: str, mode: str, **where: Any) -> None:
    """Make the venue online, post_only, limit_only, cancel_only, or put it under maintenance."""
    _told(lambda: SandboxAdmin(url).mode(mode, **where))
    click.echo(mode)


@sandbox_group.command("hours")
@click.argument("symbol")
@click.argument("hours", default="")
@click.option("--days", default="", help="Such as mon-fri or sat,sun; every day when absent.")
@click.option("--market", default="")
@_url
def hours_command(url: str, symbol: str, hours: str, days: str, market: str) -> None:
    """Give SYMBOL opening hours in UTC, such as 09:30-16:00; without HOURS it never closes."""
    is_open = _told(lambda: SandboxAdmin(url).hours(symbol, hours, days, market=market))
    click.echo(f"{symbol} is {'open' if is_open else 'closed'} now")


@sandbox_group.command("sockets")
@click.argument("rules", nargs=-1, metavar="[NAME=SECONDS]...")
@click.option("--door", default="", help="spot, api or usdm; all of them when absent.")
@_url
def sockets_command(url: str, rules: tuple[str, ...], door: str) -> None:
    """How long Binance's connections live: ping_every_s, pong_within_s, lifetime_s, messages_per_s; listen_key_s."""
    given = dict(_parameter(text) for text in rules)
    click.echo(json.dumps(_told(lambda: SandboxAdmin(url).sockets(door, **given))))


@sandbox_group.command("clock", context_settings={"ignore_unknown_options": True})
@click.argument("offset_ms", type=int)
@_url
def clock_command(url: str, offset_ms: int) -> None:
    """Put the venue's clock wrong by OFFSET_MS milliseconds."""
    _told(lambda: SandboxAdmin(url).clock(offset_ms))
    click.echo(f"{offset_ms} ms")


@sandbox_group.command("fill")
@click.argument("order_id", type=int)
@click.argument("quantity", required=False)
@click.option("--market", default="spot", show_default=True)
@_url
def fill_command(url: str, order_id: int, quantity: str | None, market: str) -> None:
    """Let the background market take QUANTITY (or all) of the resting order ORDER_ID, at its price."""
    click.echo(json.dumps(_told(lambda: SandboxAdmin(url).fill(order_id, quantity, market=market))))


@sandbox_group.command("price")
@click.argument("symbol")
@click.argument("price")
@_url
def price_command(url: str, symbol: str, price: str) -> None:
    """Move SYMBOL to PRICE: the background market quotes around it from now on."""
    _told(lambda: SandboxAdmin(url).price(symbol, price))
    click.echo(f"{symbol} {price}")


@sandbox_group.command("ledger")
@click.option("--path", help="Only this path; a * at its end takes all that begin so.")
@click.option("--method")
@click.option("--client-order-id")
@click.option("--since", type=int, default=0, help="Only rows after this sequence number.")
@click.option("--streams", is_flag=True, help="The messages of streams instead of requests.")
@click.option("--stream", help="With --streams: only streams that begin so.")
@_url
def ledger_command(url: str, streams: bool, stream: str | None, **filters: Any) -> None:
    """Everything the exchange received (or sent on streams), one JSON object a line."""
    admin = SandboxAdmin(url)
    rows = _told(lambda: admin.stream_ledger(stream=stream, since=filters["since"], limit=10_000) if streams or stream
                 else admin.ledger(**filters))  # fmt: skip
    for row in rows:
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
