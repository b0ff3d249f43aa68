"""`jackstay doctor`: what is not in place, and how to mend it; of an agent that runs, is dead, or never ran."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

from jackstay_protocols import endpoints
from jackstay_protocols.errors import ValidationError

from ..app import version
from ..config import Config, ConfigError
from ..doctor import Finding, Patient, State, host_checks, venue_checks
from .fleet import Expected, Presence, expected, look_at
from .root import EXIT_UNHEALTHY
from .target import config_file, config_option, own_paths, runtime_dir_option

COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red", State.SKIP: "cyan"}


@click.command()
@click.argument("name", required=False)
@config_option
@runtime_dir_option
@click.option("--offline", is_flag=True, help="Ask no venue; what only a venue can tell is left open.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(name: str | None, config_path: Path | None, runtime_dir: Path | None, offline: bool, as_json: bool) -> None:
    """Check what the agent NAME needs, and say how to mend what is missing. Changes nothing.

    Configuration, permissions of credentials, sockets, disk, limits, the systemd unit, versions; then, of the
    configured venues alone: DNS, TLS, the clock's offset, what the key may do. What cannot be looked at is told as
    skipped, never as well. Exit codes: 0 nothing fails, 1 something does (with --json: "fail" rows).

    \b
    jackstay doctor mybot
    jackstay doctor mybot --offline --json
    jackstay --all doctor
    """
    patient = _patient(name or _only(runtime_dir), config_path, runtime_dir)
    rows = []
    for each in _findings(patient, offline):
        rows.append(each)
        if not as_json:
            _show(each)
    counts = {str(state): sum(each.state is state for each in rows) for state in State}
    if as_json:
        found = [{"check": e.check, "state": str(e.state), "what": e.what, "mend": e.mend} for e in rows]
        click.echo(json.dumps({"agent": patient.name, "healthy": not counts["fail"], **counts, "findings": found}))
    else:
        click.echo(f"{patient.name}: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    if counts["fail"]:
        raise SystemExit(EXIT_UNHEALTHY)


def _findings(patient: Patient, offline: bool) -> Iterator[Finding]:
    yield from host_checks(patient)
    yield from venue_checks(patient, offline=offline)


def _show(each: Finding) -> None:
    click.echo(f"{click.style(f'{each.state:<4}', fg=COLOURS[each.state], bold=True)}  {each.check:<11}  {each.what}")
    if each.mend:
        click.echo(f"{'':19}mend: {each.mend}")


def _only(runtime_dir: Path | None) -> str:
    """The agent that is meant when none is named. Raises UsageError."""
    named = os.environ.get("JACKSTAY_AGENT")
    if named:
        return named
    agents, _problems = expected(runtime_dir)
    if len(agents) == 1:
        return agents[0].name
    if not agents:
        raise click.UsageError("no agent is configured, wanted by a unit, or running here: jackstay doctor NAME")
    raise click.UsageError(f"several agents are here: {', '.join(each.name for each in agents)}; jackstay doctor NAME")


def _patient(name: str, config_path: Path | None, runtime_dir: Path | None) -> Patient:
    endpoints.check_agent_name(name)
    agents, _problems = expected(runtime_dir)
    paths = next((each.paths for each in agents if each.name == name), None) or own_paths(name, runtime_dir)
    seen = look_at(Expected(name, paths, ()))
    path = config_path or config_file(name)
    config, problems = None, []
    try:
        config = Config.load(path) if path is not None else Config()
    except ConfigError as error:
        problems = error.problems
    except ValidationError as error:
        problems = [str(error)]
    env = {key: value for key, value in os.environ.items() if key != "STATE_DIRECTORY"}
    return Patient(
        name=name,
        paths=paths,
        state_folder=endpoints.state_folder(paths, env),
        config_path=path,
        config=config,
        problems=problems,
        facts=seen.facts if seen.presence is Presence.UP else {},
        absence=seen.why,
        environ=os.environ,
        version=version(),
    )
