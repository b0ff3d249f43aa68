"""`jackstay audit verify | export | status`: is the log what the agent wrote, and what does it say.

Verifying needs files, not a running agent: a log is most wanted after the agent is gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.endpoints import state_folder
from jackstay_protocols.errors import SecurityError, ValidationError

from ..audit.anchors import anchors_in
from ..audit.key import read_key
from ..audit.reading import records_of, verify
from ..core.audit_chain import Anchor
from ..core.audit_verify import Report
from .duration import UNITS_S
from .target import config_option, load_config, own_paths, runtime_dir_option


def instant_us(text: str | None, now_s: float) -> int:
    """ "15m", "2h", "1d" ago, or an ISO instant (UTC unless it says otherwise), as UTC microseconds."""
    if not text:
        return 0
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if ago is not None:
        return int((now_s - float(ago.group(1)) * UNITS_S[ago.group(2)]) * 1e6)
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(f"{text!r}; 15m, 2h, 1d or an instant like 2026-11-28T02:30 is expected") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1e6)


def shown_us(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def places(name: str, config_path: Path | None, runtime_dir: Path | None, folder: Path | None) -> tuple[Path, Path]:
    """The log's folder and the key's file, as the agent of that name uses them."""
    config, _origin = load_config(name, config_path)
    state = state_folder(own_paths(name, runtime_dir), os.environ)
    where, key = config.audit.places(state)
    return folder or where, key


def agent_option(function: Any) -> Any:
    function = click.option("--folder", type=click.Path(path_type=Path), help="The log's folder, if it was moved.")(
        function
    )
    return click.argument("name", default=os.environ.get("JACKSTAY_AGENT") or "bot")(
        config_option(runtime_dir_option(function))
    )


@click.group()
def audit() -> None:
    """The sealed record of what was asked, decided, answered and done."""


@audit.command("verify")
@agent_option
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="The key, if it is elsewhere.")
@click.option(
    "--anchors",
    "anchor_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="JSON lines that hold anchors: a log of the agent, a webhook's bodies, journalctl -o json ('-' reads stdin).",
)
@click.option("--no-journal", is_flag=True, help="Do not ask the system journal for anchors.")
@click.option("--json", "as_json", is_flag=True, help="The whole finding as one JSON object.")
def verify_(
    name: str,
    config_path: Path | None,
    runtime_dir: Path | None,
    folder: Path | None,
    key_file: Path | None,
    anchor_files: tuple[Path, ...],
    no_journal: bool,
    as_json: bool,
) -> None:
    """Check every line of NAME's log against its chain, its seal and the anchors. Exit code 1: something is wrong."""
    where, key_path = places(name, config_path, runtime_dir, folder)
    key_path = key_file or key_path
    try:
        key: bytes | None = read_key(key_path)
    except FileNotFoundError:
        key = None
    except PermissionError:
        key = None
    except SecurityError as error:
        raise click.ClickException(str(error)) from None
    anchors = [] if no_journal else _journal_anchors(name)
    for path in anchor_files:
        lines = sys.stdin if str(path) == "-" else _read(path).splitlines()
        anchors += anchors_in(lines, str(path), name)
    report = verify(where, key, anchors)
    if as_json:
        click.echo(json.dumps(_facts(report), indent=2))
    else:
        _tell(report, where)
    sys.exit(0 if report.ok else 1)


@audit.command("export")
@agent_option
@click.option("--since", help="15m, 2h, 1d ago, or an instant; default: everything.")
@click.option("--until", help="Up to there, not including it.")
@click.option("--kind", multiple=True, help="Only these kinds: decision, outcome, settled, event, own ...")
@click.option("--bot", help="Only this bot's.")
@click.option("--order", help="Only lines that name this client order id, venue id or intent.")
@click.option("--csv", "as_csv", is_flag=True, help="A table of the usual fields instead of JSON lines.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Into a file instead of stdout.")
def export(
    name: str,
    config_path: Path | None,
    runtime_dir: Path | None,
    folder: Path | None,
    since: str | None,
    until: str | None,
    kind: tuple[str, ...],
    bot: str | None,
    order: str | None,
    as_csv: bool,
    out: Path | None,
) -> None:
    """Write NAME's log, or a part of it, as JSON lines or as a table."""
    where, _key = places(name, config_path, runtime_dir, folder)
    if not where.is_dir():
        raise ValidationError(f"{where} is no folder: no audit log of agent {name!r} is there")
    now_s = time.time()
    until_us = instant_us(until, now_s) if until else None
    chosen = (
        record
        for record in records_of(where, instant_us(since, now_s), until_us)
        if (not kind or record.get("kind") in kind)
        and (bot is None or record.get("bot") == bot)
        and (order is None or _names(record, order))
    )
    target = out.open("w", encoding="utf-8", newline="") if out else sys.stdout
    try:
        count = _write_csv(chosen, target) if as_csv else _write_lines(chosen, target)
    finally:
        if out:
            target.close()
    if out:
        click.echo(f"{count} lines in {out}")


COLUMNS = (
    *("seq", "at", "kind", "bot", "account", "venue", "request", "intent", "client_id", "venue_id", "symbol", "side"),
    *(
        "type",
        "price",
        "quantity",
        "time_in_force",
        "decision",
        "reason",
        "outcome",
        "cause",
        "code",
        "status",
        "event",
    ),
    *("uid", "why"),
)


def _write_csv(records: Any, target: Any) -> int:
    import csv

    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    count = 0
    for record in records:
        count += 1
        row = {**record, "at": shown_us(record["at_us"])}
        cells = [row.get(column, "") for column in COLUMNS]
        cells = [" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in cells]
        # a spreadsheet would run what begins like a formula
        writer.writerow(
            [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@" and cell else cell for cell in cells]
        )
    return count


def _write_lines(records: Any, target: Any) -> int:
    count = 0
    for record in records:
        count += 1
        target.write(json.dumps(record, separators=(",", ":")) + "\n")
    return count


def _names(record: dict[str, Any], order: str) -> bool:
    found = [record.get("client_id"), record.get("venue_id"), record.get("intent")]
    found += [each.get("client_id") for each in record.get("orders", []) if isinstance(each, dict)]
    flat = [one for each in found for one in (each if isinstance(each, list) else [each])]
    return any(str(each) == order for each in flat if each is not None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValidationError(f"anchors of {path} cannot be read: {error.strerror}") from None


def _journal_anchors(name: str) -> list[Anchor]:
    """What the system journal holds, where there is one and it may be read."""
    program = shutil.which("journalctl")
    if program is None:
        return []
    command = [program, "--quiet", "--output=json", f"JACKSTAY_AGENT={name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return anchors_in(done.stdout.splitlines(), "journalctl", name)


def _facts(report: Report) -> dict[str, Any]:
    to = report.anchored_to
    return {
        "ok": report.ok,
        "lines": report.lines,
        "first": report.first,
        "last": report.last,
        "log": report.log,
        "seals_checked": report.seals_checked,
        "anchors": report.anchors,
        "anchored_to": None if to is None else {"seq": to.seq, "at_us": to.at_us},
        "unanchored": report.unanchored,
        "found": [{"fault": str(f.fault), "seq": f.seq, "where": f.where, "what": f.what} for f in report.found],
        "notes": report.notes,
    }


def _tell(report: Report, where: Path) -> None:
    for each in report.found:
        click.echo(f"{each.fault}: {each.where}: line {each.seq}: {each.what}")
    for note in report.notes:
        click.echo(f"note: {note}")
    span = f"{report.lines} lines ({report.first} to {report.last}) in {where}"
    if not report.ok:
        click.echo(f"NOT intact: {len(report.found)} findings in {span}")
    elif report.anchored_to is None:
        click.echo(f"intact as far as chain and seals tell, {span}; all of it is unanchored")
    else:
        click.echo(
            f"intact up to anchor {shown_us(report.anchored_to.at_us)} (line {report.anchored_to.seq}),"
            f" {report.unanchored} lines after it unanchored; {span}"
        )
