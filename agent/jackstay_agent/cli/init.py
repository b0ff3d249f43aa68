"""`jackstay init`: a configuration for a new agent, and the lines that lead a bot's unit to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from jackstay_protocols import endpoints

from ..config import Config, profiles_of
from .keys import config_folder
from .rehearse import SIBLINGS

DROP_IN = """[Unit]
Wants=jackstay@{name}.service
After=jackstay@{name}.service
[Service]
Environment=JACKSTAY_AGENT={name}
"""


@click.command()
@click.argument("name")
@click.option("--venue", "venues", multiple=True, required=True, help="binance, bybit-testnet, …; more than once.")
@click.option("--bot-unit", help="The bot's systemd unit: gets a drop-in that starts the agent before it.")
@click.option("--config-dir", type=click.Path(file_okay=False, path_type=Path), help="Default: /etc/jackstay, or XDG.")
@click.option(
    "--unit-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/etc/systemd/system"),
    show_default=True,
    help="Where drop-ins of units are.",
)
@click.option("--sandbox", "exchange", metavar="URL", help="Lead every host of the venues to a simulated exchange.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="The files that were written, as one JSON object.")
def init(
    name: str,
    venues: tuple[str, ...],
    bot_unit: str | None,
    config_dir: Path | None,
    unit_dir: Path,
    exchange: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write NAME.toml: six lines that say which venue it is for, that nothing else is reached, and where a key may go.

    \b
    jackstay init mybot --venue binance
    jackstay init mybot --venue bybit-testnet --bot-unit mybot.service
    jackstay init mybot --venue binance --sandbox http://127.0.0.1:8787
    """
    endpoints.check_agent_name(name)
    profiles = profiles_of(Config())
    for venue in venues:
        if venue not in profiles:
            raise click.UsageError(f"no venue {venue!r}; known: {', '.join(sorted(profiles))}")
    target = (config_dir or config_folder()) / f"{name}.toml"
    text = _text(
        name, venues, sorted({_family(host) for venue in venues for host in profiles[venue].hosts}), bool(exchange)
    )
    if exchange:
        reached = {host for venue in venues for host in profiles[venue].hosts | profiles[venue].socket_hosts}
        text += _led(sorted(reached | {host for host in SIBLINGS if _family(host) in map(_family, reached)}), exchange)
    Config.from_toml(text, str(target))
    written = [(target, text, 0o644)]
    if bot_unit is not None:
        unit = bot_unit if bot_unit.endswith(".service") else f"{bot_unit}.service"
        if "/" in unit or unit.startswith("."):
            raise click.UsageError(f"--bot-unit {bot_unit!r}; a unit's name is expected, as in mybot.service")
        written.append((unit_dir / f"{unit}.d" / "jackstay.conf", DROP_IN.format(name=name), 0o644))
    for path, _text_of_it, _mode in written:
        if path.exists() and not force:
            raise click.ClickException(f"{path} is there already; --force replaces it")
    for path, content, mode in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        os.chmod(path, mode)
        if not as_json:
            click.echo(f"written: {path}")
    if as_json:
        click.echo(json.dumps({"agent": name, "written": [str(path) for path, _content, _mode in written]}))
        return
    click.echo(
        f"next:\n  jackstay config check {target}\n  jackstay rehearse {name} -- YOUR BOT   (nothing of it is real)\n"
        + ("  systemctl daemon-reload\n" if bot_unit else "")
        + f"  jackstay run {name} -c {target}\n  in the bot, one line: jackstay.attach(exchange)"
    )


def _family(host: str) -> str:
    """All of a venue's hosts: a library's first question often goes to another of them (ccxt asks fapi for spot)."""
    labels = host.split(".")
    return host if len(labels) < 3 else "*." + ".".join(labels[-2:])


def _led(hosts: list[str], exchange: str) -> str:
    lines = "".join(f'"{host}" = "{exchange}"\n' for host in hosts)
    return f"[upstreams]  # a simulated exchange; without this table it is the real one\n{lines}"


def _text(name: str, venues: tuple[str, ...], hosts: list[str], simulated: bool) -> str:
    """Six lines for one venue, two more for each further one."""
    shown = ", ".join(f'"{host}"' for host in hosts)
    lines = [
        f"# the agent {name}: jackstay config check shows every mistake; docs/OPERATIONS.md says what each key means",
        "[agent]",
        f"allow_hosts = [{shown}]  # nothing else is reached",
    ]
    for venue in venues:
        testing = simulated or venue.endswith("-testnet") or venue == "sandbox"
        lines += [f"[venues.{venue}]", f"live = {'false' if testing else 'true'}"]
    lines.append(
        f"# a key of the agent's own lets it ask about lost orders: jackstay keys add {name} --venue {venues[0]}"
    )
    return "\n".join(lines) + "\n"
