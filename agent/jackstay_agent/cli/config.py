"""`jackstay config`: write one, check it before it matters, show what counts and where it comes from."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from jackstay_protocols import endpoints
from jackstay_protocols.errors import ValidationError

from ..account_lock import AccountLock, lock_folder
from ..config import Config, ConfigError
from ..config_layers import layers_of, merged
from ..config_show import effective, rows, toml
from .init import init
from .root import EXIT_UNHEALTHY
from .target import config_file, config_option


@click.group()
def config() -> None:
    """Write, check and show configurations.

    A config folder holds NAME.toml for each agent, and defaults.toml for what they share: a few lines per bot do.

    \b
    jackstay config init mybot --venue binance
    jackstay config check mybot
    jackstay config show mybot --effective --origin
    """


config.add_command(init)


@config.command()
@click.argument("path", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def check(path: str, as_json: bool) -> None:
    """Validate a TOML file, or that of the agent NAME, with the defaults.toml beside it; exit code 1 lists all that is
    wrong."""
    file = _file(path)
    try:
        problems = _other_claims(file, Config.load(file))
    except ConfigError as error:
        problems = error.problems
    if as_json:
        files = [str(each.path) for each in layers_of(file, os.environ)]
        click.echo(json.dumps({"path": str(file), "files": files, "ok": not problems, "problems": problems}))
    elif problems:
        for problem in problems:
            click.echo(f"{file}: {problem}", err=True)
    else:
        click.echo(f"{file}: ok")
    if problems:
        sys.exit(EXIT_UNHEALTHY)


def _other_claims(file: Path, read: Config) -> list[str]:
    """Who else says that the exclusive account is its own: an agent that runs here, a configuration beside this one."""
    account, name = read.account, file.stem
    if not account.exclusive or not account.id:
        return []
    found = []
    for root in endpoints.runtime_roots(os.environ):
        paths = endpoints.AgentPaths(name, root / name)
        owner = AccountLock(lock_folder(paths, os.environ), account.id).owner()
        if owner and owner != name:
            found.append(f"agent {owner}, which runs on this host,")
    for other in sorted(file.parent.glob("*.toml")):
        if other.stem in (name, "defaults"):
            continue
        try:
            theirs = Config.load(other).account
        except ConfigError:
            continue  # its own check says what is wrong with it
        if theirs.exclusive and theirs.id == account.id:
            found.append(str(other))
    return [
        f"[account] id = {account.id!r} is exclusive, and {each} claims it: one agent for an exclusive account; set"
        " exclusive = false in both, or give them ids of their own if they are two accounts"
        for each in found
    ]


@config.command()
@click.argument("name", required=False)
@config_option
@click.option("--effective", "whole", is_flag=True, help="Every key there is, defaults of the program too.")
@click.option("--origin", is_flag=True, help="Which file and line each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="Values by their dotted keys, as one JSON object.")
def show(name: str | None, config_path: Path | None, whole: bool, origin: bool, as_json: bool) -> None:
    """Show the configuration of the agent NAME as it counts, without secrets: NAME.toml over defaults.toml."""
    named = name or os.environ.get("JACKSTAY_AGENT")
    path = config_path or (config_file(named) if named else None)
    if path is None and not named:
        raise click.UsageError("an agent's NAME, or --config FILE, is expected")
    read = Config() if path is None else Config.load(path)
    layers = [] if path is None else layers_of(path, os.environ)
    found = list(rows(effective(read) if whole else merged(layers), layers))
    if as_json:
        values = {
            ".".join(each.key): {"value": each.value, "file": str(each.file) if each.file else None, "line": each.line}
            for each in found
        }
        click.echo(json.dumps({"agent": named, "files": [str(each.path) for each in layers], "values": values}))
        return
    if path is None:
        folders = " or ".join(str(each) for each in endpoints.config_folders(os.environ))
        click.echo(f"# no {named}.toml in {folders}: all defaults")
    click.echo(toml(found, origin=origin), nl=False)


def _file(word: str) -> Path:
    """A file that is there, else the file of the agent of that name."""
    if os.path.lexists(word) or "/" in word or word.endswith(".toml"):
        return Path(word)
    try:
        endpoints.check_agent_name(word)
    except ValidationError:
        return Path(word)
    found = config_file(word)
    if found is None:
        folders = " or ".join(str(each) for each in endpoints.config_folders(os.environ))
        raise ConfigError(word, [f"no file {word!r} here, and no {word}.toml in {folders}"])
    return found
