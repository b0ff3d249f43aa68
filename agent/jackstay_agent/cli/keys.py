"""`jackstay keys`: put an agent's key where only it can read it, and ask the venue what the key may do."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from jackstay_protocols import endpoints
from jackstay_protocols.errors import TradingBotError

from ..config import Config, profiles_of
from ..key_check import checked
from ..venues.credentials import KeySource, from_file
from .progress import waiting
from .root import EXIT_UNHEALTHY
from .tables import table
from .target import config_option, load_config


@click.group()
def keys() -> None:
    """The agent's own keys: files of mode 0600 that a configuration names and never holds.

    \b
    jackstay keys add mybot --venue binance     asks for key and secret, writes them, asks the venue
    jackstay keys check mybot                   may it trade, can it withdraw, is it another than the bot's
    jackstay keys list mybot                    where each is; nothing of a key is ever shown
    """


@keys.command()
@click.argument("name")
@click.option("--venue", required=True, help="A venue of the configuration: binance, bybit-testnet, …")
@click.option("--file", "path", type=click.Path(dir_okay=False, path_type=Path), help="Default: keys/NAME-VENUE.key.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Where it is, as one JSON object.")
def add(name: str, venue: str, path: Path | None, force: bool, as_json: bool) -> None:
    """Write the agent's key for VENUE into a file that only you can read.

    Key, secret and, where the venue wants one, passphrase are asked for without an echo, or read from standard input
    as lines 'key = …', 'secret = …' when that is no terminal. They never stand on a command line.
    """
    endpoints.check_agent_name(name)
    target = (path or config_folder() / "keys" / f"{name}-{venue}.key").absolute()
    if venue not in profiles_of(Config()):
        raise click.UsageError(f"no venue {venue!r}; known: {', '.join(sorted(profiles_of(Config())))}")
    text = _asked(venue) if sys.stdin.isatty() else sys.stdin.read()
    from ..venues.credentials import parse

    parse(text, "what was given")  # refuse nonsense before it is written
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        handle = os.open(target, flags, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{target} is there already; --force replaces it") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, 0o600)
        file.write(text if text.endswith("\n") else text + "\n")
    from_file(target)
    if as_json:
        click.echo(json.dumps({"venue": venue, "written": str(target)}))
        return
    click.echo(f"written: {target} (mode 0600)")
    click.echo(f'in the configuration:\n\n[venues.{venue}.keys]\nfile = "{target}"\n\nthen: jackstay keys check {name}')


@keys.command("list")
@click.argument("name")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_(name: str, config_path: Path | None, as_json: bool) -> None:
    """Where the agent's keys are and whether they can be read; never what they are."""
    config, origin = load_config(name, config_path)
    rows: list[dict[str, Any]] = []
    for venue, section in sorted(config.venues.items()):
        row: dict[str, Any] = {"venue": venue, "from": _origin(section.keys), "live": section.live, "problem": ""}
        if section.keys is not None:
            try:
                section.keys.read(os.environ)
            except TradingBotError as error:
                row["problem"] = str(error)
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"config": str(origin) if origin else None, "keys": rows}))
    else:
        none = "no key: the venue is carried only"
        shown = [
            {
                **row,
                "live": "live" if row["live"] else "test",
                "state": row["problem"] or ("ok" if row["from"] != "-" else none),
            }
            for row in rows
        ]
        table(shown, ("venue", "from", "live", "state"))
    if any(row["problem"] for row in rows):
        sys.exit(EXIT_UNHEALTHY)


@keys.command()
@click.argument("name")
@config_option
@click.option("--bot-key-env", help="PREFIX of the bot's own PREFIX_KEY: at venues with nonces it must be another key.")
@click.option("--bot-key-file", type=click.Path(dir_okay=False, path_type=Path), help="The bot's own key as a file.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def check(
    name: str, config_path: Path | None, bot_key_env: str | None, bot_key_file: Path | None, as_json: bool
) -> None:
    """Ask each venue what the agent's key may do; exit code 1 when one can withdraw, or cannot be asked."""
    config, _origin_path = load_config(name, config_path)
    bot_key = _bot_key(bot_key_env, bot_key_file)
    profiles = profiles_of(config)
    rows = []
    for venue, section in sorted(config.venues.items()):
        if section.keys is not None:
            profile = profiles[section.profile or venue]
            with waiting(f"{venue} is asked what the key may do"):
                rows.append({"venue": venue, **checked(config, profile, section.keys, bot_key)})
    if not rows:
        raise click.ClickException("no venue of this configuration has a key ([venues.NAME.keys])")
    if as_json:
        click.echo(json.dumps({"keys": rows}))
    else:
        table([{**row, **_permissions(row)} for row in rows], ("venue", "trade", "withdraw", "verdict"))
    if not all(row["ok"] for row in rows):
        sys.exit(EXIT_UNHEALTHY)


def _permissions(row: dict[str, Any]) -> dict[str, str]:
    trade = {True: "can trade", False: "cannot trade", None: "not told"}[row["trade"]]
    withdraw = {True: "CAN WITHDRAW", False: "cannot withdraw", None: "not told"}[row["withdraw"]]
    return {"trade": trade, "withdraw": withdraw, "verdict": "ok" if row["ok"] else f"refused: {row['problem']}"}


def _bot_key(prefix: str | None, path: Path | None) -> str:
    if path is not None:
        return from_file(path).key
    return os.environ.get(f"{prefix.rstrip('_').upper()}_KEY", "").strip() if prefix else ""


def _asked(venue: str) -> str:
    lines = [f"key = {click.prompt(f'{venue} API key', hide_input=True)}"]
    lines.append(f"secret = {click.prompt('secret', hide_input=True)}")
    phrase = click.prompt(
        "passphrase (empty where the venue has none)", hide_input=True, default="", show_default=False
    )
    return "\n".join([*lines, *([f"passphrase = {phrase}"] if phrase else [])]) + "\n"


def _origin(source: KeySource | None) -> str:
    if source is None:
        return "-"
    return source.file or (f"credential {source.credential}" if source.credential else f"environment {source.env}_*")


def config_folder() -> Path:
    """Where configurations of new agents go: the system's folder when it can be written, else the user's."""
    folders = endpoints.config_folders(os.environ)
    return folders[0] if os.access(folders[0], os.W_OK) else folders[-1]
