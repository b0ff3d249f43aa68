"""`jackstay reload`, `upgrade`, `handover` and `rollback`: another configuration or another version, without a loss."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jackstay_protocols.endpoints import state_folder
from jackstay_protocols.errors import AgentGone, TradingBotError, ValidationError

from ..config import Config
from ..control import ask
from .progress import waiting
from .root import EXIT_UNHEALTHY
from .target import ask_agent, config_option, existing_agent, load_config, own_paths, runtime_dir_option

if TYPE_CHECKING:
    from ..outbox.rollback import Plan
    from ..upgrade_check import Check

TAKES_OVER_S = 60.0
LOOK_EVERY_S = 0.05


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def reload(name: str | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Have the agent NAME read its configuration again. A file with mistakes changes nothing: exit code 1.

    \b
    jackstay reload mybot
    systemctl reload jackstay@mybot
    """
    facts = ask_agent(name, runtime_dir, "reload")
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"read {facts['file']}; changed: {', '.join(facts['changed']) or 'nothing'}")
    if facts["needs_restart"]:
        click.echo(f"in force after a restart: {', '.join(facts['needs_restart'])}")


@click.command()
@click.argument("name", required=False)
@click.option("--check", is_flag=True, required=True, help="Look only; nothing of the running agent is changed.")
@config_option
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def upgrade(name: str | None, check: bool, config_path: Path | None, runtime_dir: Path | None, as_json: bool) -> None:
    """Could this version take over from the agent NAME? Run it from the new installation.

    \b
    /opt/jackstay-0.2/bin/jackstay upgrade mybot --check
    """
    from ..app import version

    with waiting("looking at configuration, wire and journal"):
        checks = _checks(name, config_path, runtime_dir)
    good = all(each.ok for each in checks)
    if as_json:
        shown = [{"name": each.name, "ok": each.ok, "what": each.what} for each in checks]
        click.echo(json.dumps({"ok": good, "version": version(), "checks": shown}))
    else:
        for each in checks:
            click.echo(f"{'ok ' if each.ok else 'NO '} {each.name}: {each.what}")
        click.echo(f"jackstay {version()} {'can take over' if good else 'can not take over; nothing was changed'}")
    if not good:
        sys.exit(EXIT_UNHEALTHY)


def _checks(name: str | None, config_path: Path | None, runtime_dir: Path | None) -> list[Check]:
    from ..upgrade_check import Check, check_config, check_journal, check_wire

    paths = existing_agent(name, runtime_dir)
    status = ask(paths.control, "status", timeout_s=10)
    found = [check_wire(int(status.get("wire_version", 0)), status["bots"])]
    try:
        live = ask(paths.control, "upgrade.copy", timeout_s=60)
    except AgentGone:
        raise
    except TradingBotError as error:
        older = "unknown command" in str(error)
        what = (
            "the running version makes no copy; the journal is looked at when this one starts" if older else str(error)
        )
        live, found = {}, [*found, Check("journal", older, what)]
    # what the running agent was started with, else what a start by this name would find
    config_path = config_path or (Path(live["config"]) if live.get("config") else None)

    def build(config: Config) -> None:
        _build_only(config, paths.name, runtime_dir)

    found = [*check_config(lambda: load_config(paths.name, config_path), build), *found]
    if live:
        copy = Path(live["copy"])
        try:
            config = load_config(paths.name, config_path)[0] if found[0].ok else Config()
            found.append(check_journal(copy, config))
        finally:
            _remove_copy(copy)
    return found


def _build_only(config: Config, name: str, runtime_dir: Path | None) -> None:
    """All the parts, put together and thrown away: nothing is bound, opened or dialled."""
    import asyncio

    from .. import app
    from ..ports import real_ports

    async def put_together() -> None:
        ports = real_ports(asyncio.get_running_loop())
        app.build(config, ports, name=name, paths=own_paths(name, runtime_dir))
        ports.close()

    asyncio.run(put_together())


def _remove_copy(copy: Path) -> None:
    for each in copy.parent.glob(f"{copy.name}*"):
        each.unlink(missing_ok=True)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--to",
    "program",
    type=click.Path(path_type=Path),
    help="The other installation's jackstay (default: the one you run this from).",
)
@runtime_dir_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def handover(name: str | None, program: Path | None, runtime_dir: Path | None, as_json: bool) -> None:
    """The agent NAME drains and becomes another version: same process, same unit, the bots wait and lose nothing.

    \b
    /opt/jackstay-0.2/bin/jackstay handover mybot
    jackstay handover mybot --to /opt/jackstay-0.2/bin/jackstay
    """
    paths = existing_agent(name, runtime_dir)
    target = _own_program() if program is None else Path(os.path.abspath(program))
    token = secrets.token_hex(8)
    try:
        with waiting(f"{target} is asked whether it could take over"):
            facts = ask(paths.control, "handover", {"program": str(target), "token": token}, timeout_s=90)
    except TradingBotError as error:
        if "unknown command" not in str(error):
            raise
        raise ValidationError(
            f"the running version knows no handover: install the new one where the unit looks and"
            f" 'systemctl restart jackstay@{paths.name}' (nothing is lost; the bots wait a second or two)"
        ) from error
    with waiting(f"{paths.name} drains and becomes {facts.get('to_version', 'another version')}"):
        told = _until_taken_over(paths.control, token, int(facts["pid"]))
    if as_json:
        click.echo(json.dumps(facts | told))
        return
    click.echo(
        f"{paths.name}: {told['from_version']} handed over to {told['version']}, pid {facts['pid']} as before;"
        f" nobody took calls for {told['gap_ms']:.0f} ms"
    )
    if warning := _unit_starts_another(paths.name, target):
        click.echo(warning, err=True)


def _own_program() -> Path:
    """The `jackstay` beside this interpreter, however it was called."""
    beside = Path(sys.executable).with_name("jackstay")
    called = Path(sys.argv[0])
    return called.absolute() if called.name == "jackstay" and called.exists() else beside


def _until_taken_over(control: Path, token: str, pid: int) -> dict[str, Any]:
    from ..ports import process_gone

    until = time.monotonic() + TAKES_OVER_S
    while time.monotonic() < until:
        try:
            told = ask(control, "handover.last", timeout_s=1.0)
            if told.get("token") == token:
                return told
        except TradingBotError:
            pass  # between the two, or a version that does not know the question
        if process_gone(pid):
            raise AgentGone(
                f"process {pid} ended before it became another version (stopped, or that version could not start: its"
                " log says which); what its service manager starts now is what the unit names: jackstay status"
            )
        time.sleep(LOOK_EVERY_S)
    raise AgentGone(f"no agent has taken over in {TAKES_OVER_S:g} s: look at its log")


def _unit_starts_another(name: str, program: Path) -> str:
    """After a crash the unit's own program starts: say so when that is another one."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return ""
    shown = subprocess.run(
        [systemctl, "show", "-p", "ExecStart", "--value", f"jackstay@{name}"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    if "path=" not in shown:
        return ""
    starts = shown.split("path=", 1)[1].split(" ;", 1)[0]
    if os.path.realpath(starts) == os.path.realpath(program):
        return ""
    return f"the unit still starts {starts}: after a crash the other version would come back; lead it to {program}"


@click.command()
@click.argument("name")
@click.option("--to-schema", type=int, help="The journal's schema to go back to (default: the latest that is kept).")
@runtime_dir_option
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--expect", type=int, help="With --yes: the number of rows that must come along.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def rollback(
    name: str,
    to_schema: int | None,
    runtime_dir: Path | None,
    dry_run: bool,
    yes: bool,
    expect: int | None,
    as_json: bool,
) -> None:
    """Lead the journal of the stopped agent NAME back to the schema of the version before an upgrade.

    Nothing recorded since is forgotten, and the journal of today is set aside, not deleted.

    \b
    systemctl stop jackstay@mybot
    jackstay rollback mybot --dry-run
    """
    from ..instance_lock import InstanceLock
    from ..outbox.rollback import plan, roll_back

    paths = own_paths(name, runtime_dir)
    state = state_folder(paths, os.environ)
    _become_owner_of(state, paths.runtime)
    lock = InstanceLock(paths)
    lock.take()
    try:
        planned = plan(state / "outbox.sqlite", to_schema)
        facts = _shown(planned)
        if not as_json:
            _tell_plan(planned)
        if dry_run:
            click.echo(json.dumps(facts | {"done": False})) if as_json else click.echo("dry run: nothing was changed")
            return
        _agreed(planned.rows, yes, expect)
        aside = roll_back(planned, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
    finally:
        lock.release()
    if as_json:
        click.echo(json.dumps(facts | {"done": True, "set_aside": str(aside)}))
    else:
        click.echo(f"done; today's journal is {aside}. Now start the earlier version")


def _become_owner_of(state: Path, runtime: Path) -> None:
    """Root works as the agent's own user from here on: a journal of root's would be closed to the agent."""
    if os.getuid() != 0 or not state.exists() or (owner := state.stat()).st_uid == 0:
        return
    if not runtime.exists():  # of a stopped unit; only root can make it
        if not runtime.parent.exists():
            runtime.parent.mkdir(parents=True)
            runtime.parent.chmod(0o755)
        runtime.mkdir(mode=0o700)
        os.chown(runtime, owner.st_uid, owner.st_gid)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def _shown(planned: Plan) -> dict[str, Any]:
    return {
        "journal": str(planned.path),
        "schema": planned.schema,
        "to_schema": planned.to_schema,
        "copy": str(planned.copy),
        "rows": planned.rows,
        "open": planned.open_rows,
        "lost": list(planned.lost),
    }


def _tell_plan(planned: Plan) -> None:
    made = datetime.fromtimestamp(planned.copied_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    click.echo(
        f"{planned.path}: schema {planned.schema} -> {planned.to_schema}, in the mould of {planned.copy.name}"
        f" ({made})\n{planned.rows} rows come along, {planned.open_rows} of them open"
    )
    for each in planned.lost:
        click.echo(f"the earlier schema has no place for: {each}")


def _agreed(rows: int, yes: bool, expect: int | None) -> None:
    if yes:
        if expect is not None and expect != rows:
            raise ValidationError(f"{rows} rows would come along, not the {expect} expected: nothing was changed")
        return
    if click.prompt(f"type {rows} to do it", default="", show_default=False) != str(rows):
        raise ValidationError("nothing was changed")
