"""`jackstay systemd install`: the units, shown before anything is written."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from jackstay_protocols import endpoints
from jackstay_protocols.errors import ValidationError

from ..config import Config
from .init import DROP_IN
from .target import load_config

HIDDEN = ("/home", "/root", "/run/user")  # ProtectHome= of the unit: a program there cannot be executed
SHIPPED_PROGRAM = "/opt/jackstay/bin/jackstay"


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    text: str

    def now(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


@click.group()
def systemd() -> None:
    """The agents as services."""


@systemd.command()
@click.argument("names", nargs=-1)
@click.option("--bot-unit", help="The bot's own unit: gets a drop-in with Wants= and After= the agent (one NAME).")
@click.option("--program", type=click.Path(path_type=Path), help="What the unit starts (default: this installation).")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), default=Path("/"), help="For images: not /.")
@click.option("--dry-run", is_flag=True, help="Show what would be written.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result; writes only with --yes.")
def install(
    names: tuple[str, ...],
    bot_unit: str | None,
    program: Path | None,
    root: Path,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Write the template unit, the agents' user and group, their folders, and what the agents NAMES need besides.

    A credential that NAME.toml names (keys.credential) is loaded from /etc/jackstay/keys/NAME-CREDENTIAL.key.

    \b
    jackstay systemd install mybot --bot-unit mybot.service --dry-run
    jackstay systemd install mybot --bot-unit mybot.service
    """
    target = _program(program)
    files = _files(names, bot_unit, target, root)
    wanted = [file for file in files if file.now() != file.text]
    write = not dry_run and bool(wanted) and (yes or not as_json)
    if not as_json:
        for file in files:
            _show(file)
    if write and not yes:
        answer = click.prompt(f"write these {len(wanted)} files? type yes", default="", show_default=False)
        if answer != "yes":
            raise ValidationError("nothing was written")
    if write:
        _write(wanted)
    following = _following(names, bot_unit)
    if as_json:
        click.echo(json.dumps(_facts(files, wanted, write, following)))
    elif write or not wanted:
        click.echo("next:\n" + "\n".join(f"  {line}" for line in following))
    else:
        click.echo("dry run: nothing was written")


def _program(given: Path | None) -> Path:
    beside = Path(sys.executable).with_name("jackstay")
    program = Path(os.path.abspath(given or beside))
    if re.search(r"[\s%$\\\"']", str(program)):
        raise click.UsageError(f"--program {str(program)!r}; a path without spaces, quotes, $ and % is expected")
    real = os.path.realpath(program if given else sys.executable)
    for hidden in HIDDEN:
        if any(str(each).startswith(f"{hidden}/") for each in (program, real)):
            raise ValidationError(
                f"{program} is (or leads) below {hidden}, which the unit cannot see (ProtectHome=): install with the"
                f" system's Python outside of homes, as in 'python3 -m venv /opt/jackstay', or say --program"
            )
    return program


def unit_folder() -> Path:
    """Where the shipped units are: in the package, or in a checkout beside it."""
    packaged = Path(__file__).resolve().parents[1] / "units"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "systemd"


def _files(names: tuple[str, ...], bot_unit: str | None, program: Path, root: Path) -> list[File]:
    for name in names:
        endpoints.check_agent_name(name)
    if bot_unit is not None and len(names) != 1:
        raise click.UsageError("--bot-unit goes with one agent's NAME")
    shipped, etc = unit_folder(), root / "etc"
    unit = (shipped / "jackstay@.service").read_text(encoding="utf-8").replace(SHIPPED_PROGRAM, str(program))
    files = [
        File(etc / "systemd/system/jackstay@.service", unit),
        File(etc / "sysusers.d/jackstay.conf", (shipped / "jackstay.sysusers").read_text(encoding="utf-8")),
        File(etc / "tmpfiles.d/jackstay.conf", (shipped / "jackstay.tmpfiles").read_text(encoding="utf-8")),
    ]
    for name in names:
        if credentials := _credentials(name, root):
            text = "[Service]\n" + "".join(
                f"LoadCredential={each}:/etc/jackstay/keys/{name}-{each}.key\n" for each in credentials
            )
            files.append(File(etc / f"systemd/system/jackstay@{name}.service.d/credentials.conf", text))
    if bot_unit is not None:
        full = bot_unit if bot_unit.endswith(".service") else f"{bot_unit}.service"
        if "/" in full or full.startswith("."):
            raise click.UsageError(f"--bot-unit {bot_unit!r}; a unit's name is expected, as in mybot.service")
        files.append(File(etc / f"systemd/system/{full}.d/jackstay.conf", DROP_IN.format(name=names[0])))
    return files


def _credentials(name: str, root: Path) -> list[str]:
    """Credentials that the agent's configuration names. Raises ConfigError for one that is wrong."""
    path = root / "etc/jackstay" / f"{name}.toml"
    config = Config.load(path) if path.exists() else (load_config(name, None)[0] if root == Path("/") else Config())
    return sorted({venue.keys.credential for venue in config.venues.values() if venue.keys and venue.keys.credential})


def _show(file: File) -> None:
    now = file.now()
    if now == file.text:
        click.echo(f"--- {file.path}: as it is already")
    elif now is None:
        click.echo(f"--- {file.path}: new\n{file.text}")
    else:
        lines = difflib.unified_diff(now.splitlines(), file.text.splitlines(), "now", "then", lineterm="")
        click.echo(f"--- {file.path}: changes\n" + "\n".join(lines))


def _write(files: list[File]) -> None:
    for file in files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            making = file.path.with_name(f".{file.path.name}.making")
            making.write_text(file.text, encoding="utf-8")
            os.chmod(making, 0o644)
            os.rename(making, file.path)
        except OSError as error:
            raise ValidationError(f"cannot write {file.path}: {error.strerror}; be root, or say --root") from error
        click.echo(f"written: {file.path}", err=True)


def _following(names: tuple[str, ...], bot_unit: str | None) -> list[str]:
    lines = ["systemd-sysusers", "systemd-tmpfiles --create jackstay.conf", "systemctl daemon-reload"]
    lines += [f"systemctl enable --now jackstay@{name}" for name in names]
    return [*lines, f"systemctl restart {bot_unit}"] if bot_unit else lines


def _facts(files: list[File], wanted: list[File], written: bool, following: list[str]) -> dict[str, Any]:
    return {
        "files": [{"path": str(file.path), "changed": file in wanted, "text": file.text} for file in files],
        "written": written,
        "next": following,
    }
