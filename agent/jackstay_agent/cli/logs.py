"""`jackstay logs`: an agent's log, wherever its standard error went: the system journal, or a file.

The agent notes the place when it starts (`last_seen.json`), so a dead one's log is found too. What went to a terminal
or into a pipe can be read by nobody else, and that is said instead of showing nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.errors import ValidationError

from ..logs import LEVELS
from .audit import instant_us
from .fleet import Expected, expected
from .root import EXIT_UNHEALTHY
from .target import existing_agent, runtime_dir_option

POLL_S = 0.2
COLOURS = {"warning": "yellow", "error": "red"}


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("-n", "--last", default=50, show_default=True, type=click.IntRange(0), help="So many lines; 0: all.")
@click.option("-f", "--follow", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@click.option("--level", type=click.Choice(list(LEVELS)), default="debug", show_default=True, help="That or louder.")
@click.option("--event", "events", multiple=True, help="Only this event, or those that begin so: bot. order.")
@click.option("--since", help="15m, 2h, 1d ago, or an instant.")
@click.option("--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Read this file.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, as the agent wrote them.")
def logs(
    name: str | None,
    runtime_dir: Path | None,
    last: int,
    follow: bool,
    level: str,
    events: tuple[str, ...],
    since: str | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """Show the log of the agent NAME, running or not: from the system journal, or the file its stderr goes to.

    \b
    jackstay logs mybot --level warning --since 2h
    jackstay logs mybot -f --event bot. --event protect.
    jackstay logs --file old.log --json
    """
    if follow:  # Ctrl-C ends it wherever it is; an exception may be lost in a callback of the interpreter
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(EXIT_UNHEALTHY))
    since_s = instant_us(since, time.time()) / 1e6 if since else 0.0
    source = _file(file, follow) if file else _source(_agent(name, runtime_dir), follow, since)
    wanted = Wanted(LEVELS[level], events, since_s)
    kept: deque[str] = deque(maxlen=last or None)
    backlog = True
    for line in source:
        if line is None:  # what was there is read
            for each in kept:
                _show(each, as_json)
            kept.clear()
            backlog = False
        elif wanted.has(line):
            kept.append(line) if backlog else _show(line, as_json)
    for each in kept:
        _show(each, as_json)


class Wanted:
    def __init__(self, level: int, events: tuple[str, ...], since_s: float) -> None:
        self._level, self._events, self._since_s = level, events, since_s

    def has(self, line: str) -> bool:
        facts = _facts(line)
        if facts is None:  # a traceback, a word of a library: part of the log unless somebody asked for less
            return not self._events and not self._since_s
        if LEVELS.get(str(facts.get("level")), 0) < self._level:
            return False
        event = str(facts.get("event", ""))
        if self._events and not any(event == each or event.startswith(each.rstrip("*")) for each in self._events):
            return False
        return not self._since_s or instant_us(str(facts.get("timestamp", "")), 0.0) / 1e6 >= self._since_s


def _facts(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _show(line: str, as_json: bool) -> None:
    facts = _facts(line)
    if as_json:
        click.echo(line if facts is not None else json.dumps({"event": "", "text": line}))
        return
    if facts is None:
        click.echo(line)
        return
    at, level, event = (str(facts.pop(key, "")) for key in ("timestamp", "level", "event"))
    rest = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in facts.items())
    click.echo(f"{at[:19]}Z {click.style(f'{level:<7}', fg=COLOURS.get(level))} {click.style(event, bold=True)} {rest}")


def _agent(name: str | None, runtime_dir: Path | None) -> Expected:
    wanted = name or os.environ.get("JACKSTAY_AGENT")
    for each in expected(runtime_dir)[0]:
        if each.name == wanted:
            return each
    paths = existing_agent(wanted, runtime_dir)
    return Expected(paths.name, paths, ())


def _source(agent: Expected, follow: bool, since: str | None) -> Iterator[str | None]:
    """Lines, with None once what was there has been told. Raises ValidationError where nothing can be read."""
    last = agent.last() or {}
    place = str(last.get("log", ""))
    if place.startswith("/") and os.path.isfile(place):
        return _file(Path(place), follow)
    program = shutil.which("journalctl")
    unit = f"jackstay@{agent.name}.service"
    if program is not None and (
        place.startswith("socket:") or any(unit in each for each in agent.because) or not place
    ):
        return _journal(program, unit, follow, since)
    where = f"goes to {place}" if place else "went nowhere that is known"
    raise ValidationError(
        f"the log of {agent.name} {where}: it cannot be read from here; run it under systemd, or with 2>FILE,"
        f" or look into what it recorded: jackstay audit export {agent.name}"
    )


def _file(path: Path, follow: bool) -> Iterator[str | None]:
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValidationError(f"the log {path} cannot be read: {error.strerror}") from None
    with file:
        torn = ""
        told = False
        while True:
            line = file.readline()
            if line.endswith("\n"):
                yield torn + line.rstrip("\n")
                torn = ""
                continue
            torn += line
            if not told:
                told = True
                yield None
            if not follow:
                if torn:
                    yield torn
                return
            time.sleep(POLL_S)
            if _replaced(path, file.fileno(), file.tell()):
                yield from _file(path, follow)
                return


def _replaced(path: Path, fd: int, at: int) -> bool:
    """Rotated away, or cut: the reading goes on in the new one."""
    try:
        now, ours = path.stat(), os.fstat(fd)
    except OSError:
        return False
    return (now.st_ino, now.st_dev) != (ours.st_ino, ours.st_dev) or now.st_size < at


def _journal(program: str, unit: str, follow: bool, since: str | None) -> Iterator[str | None]:
    words = [program, "--quiet", "--output=cat", f"--unit={unit}"]
    if since:
        words.append(f"--since=@{instant_us(since, time.time()) // 1_000_000}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValidationError(f"journalctl gives nothing of {unit}: {done.stderr.strip() or done.returncode}")
    lines = done.stdout.splitlines()
    if not lines:
        click.echo(f"jackstay: the journal holds nothing of {unit} that may be read from here", err=True)
    yield from lines
    yield None
    if follow:
        with subprocess.Popen([*words[:4], "--follow", "--lines=0"], stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            for line in tail.stdout:
                yield line.rstrip("\n")
                sys.stdout.flush()
