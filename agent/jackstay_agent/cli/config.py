"""`jackstay config`: check a configuration before it matters."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..config import Config, ConfigError
from .root import EXIT_UNHEALTHY


@click.group()
def config() -> None:
    """Look at and check configuration files.

    \b
    jackstay config check mybot.toml
    """


@config.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def check(path: Path, as_json: bool) -> None:
    """Validate the TOML file PATH; exit code 1 lists everything that is wrong."""
    try:
        Config.load(path)
        problems: list[str] = []
    except ConfigError as error:
        problems = error.problems
    if as_json:
        click.echo(json.dumps({"path": str(path), "ok": not problems, "problems": problems}))
    elif problems:
        for problem in problems:
            click.echo(f"{path}: {problem}", err=True)
    else:
        click.echo(f"{path}: ok")
    if problems:
        sys.exit(EXIT_UNHEALTHY)
