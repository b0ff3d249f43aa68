"""Which agent a command means, and its config file: the options every command shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from jackstay_protocols import endpoints
from jackstay_protocols.endpoints import AgentPaths
from jackstay_protocols.errors import AgentGone, Outcome, ValidationError

from ..config import Config
from ..control import ask

F = TypeVar("F", bound=Callable[..., Any])


def runtime_dir_option(function: F) -> F:
    return click.option(
        "--runtime-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder that holds agents' socket folders (default: $JACKSTAY_RUNTIME_DIR, /run/jackstay, XDG).",
    )(function)


def agent_option(function: F) -> F:
    """Which agent, where its folder is, and whether a program reads the answer."""
    function = click.option("--json", "as_json", is_flag=True, help="One JSON object.")(function)
    function = runtime_dir_option(function)
    return click.option("-a", "--agent", "name", help="The agent's name (the only one, when there is one).")(function)


def config_option(function: F) -> F:
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TOML file (default: NAME.toml in the config folder, if there is one).",
    )(function)


def existing_agent(name: str | None, runtime_dir: Path | None) -> AgentPaths:
    """The agent to talk to. Raises AgentGone when none is there."""
    try:
        return endpoints.find_agent(name, runtime_dir=runtime_dir)
    except ValidationError as error:
        if "several agents" in str(error):
            raise click.UsageError(str(error)) from error
        raise AgentGone(str(error), outcome=Outcome.FAILED) from error


def ask_agent(
    name: str | None, runtime_dir: Path | None, verb: str, /, timeout_s: float = 10.0, **args: Any
) -> dict[str, Any]:
    """What the agent answers to a verb of its control socket. Raises AgentGone, or the refusal it gave."""
    return ask(existing_agent(name, runtime_dir).control, verb, args, timeout_s=timeout_s)


def own_paths(name: str, runtime_dir: Path | None) -> AgentPaths:
    """Where a new agent of this name binds: override, systemd's or the system folder when writable, else XDG."""
    endpoints.check_agent_name(name)
    env = os.environ
    override = runtime_dir or env.get("JACKSTAY_RUNTIME_DIR")
    if override:
        return AgentPaths(name, Path(override) / name)
    if endpoints.SYSTEM_RUNTIME.is_dir() and os.access(endpoints.SYSTEM_RUNTIME, os.W_OK):
        return AgentPaths(name, endpoints.SYSTEM_RUNTIME / name)
    return AgentPaths(name, endpoints.user_runtime(env) / name)


def config_file(name: str) -> Path | None:
    """NAME.toml of the system's or the user's config folder, where there is one that can be read."""
    for folder in endpoints.config_folders(os.environ):
        candidate = folder / f"{name}.toml"
        if os.access(candidate, os.R_OK):  # a folder that may not be entered holds no configuration of ours
            return candidate
    return None


def load_config(name: str, path: Path | None) -> tuple[Config, Path | None]:
    """The named file, else NAME.toml of the system's or the user's config folder, else all defaults."""
    found = path or config_file(name)
    return (Config(), None) if found is None else (Config.load(found), found)
