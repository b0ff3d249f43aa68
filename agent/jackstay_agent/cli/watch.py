"""`jackstay watch`: one agent, or all of the host, live on the whole screen; plain lines when nobody looks.

Asks control.sock a few questions a second at most and draws what came. Works in any terminal that rich knows, over ssh
too; a resize is drawn at once, an agent that dies is shown as GONE and found again when it is back. Into a pipe, or in
a terminal that cannot be drawn on, it prints one plain picture a look.
"""

from __future__ import annotations

import json
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from jackstay_protocols.errors import TradingBotError

from ..control import ask
from .fleet import Expected, Presence, expected, look, look_at
from .root import EXIT_NO_AGENT
from .status import code_of, plain
from .target import existing_agent, runtime_dir_option
from .watch_view import Line, Look, fleet_screen, screen

ERRORS_SHOWN = 40
PLAIN_SIZE = (120, 200)  # nothing is left out where it is a file or a pipe


@click.command()
@click.argument("name", required=False)
@runtime_dir_option
@click.option("--all", "everyone", is_flag=True, help="Every agent of the host.")
@click.option("--every", "every_s", default=1.0, show_default=True, type=click.FloatRange(0.1, 60), help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="End after so many looks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
def watch(
    name: str | None, runtime_dir: Path | None, everyone: bool, every_s: float, count: int | None, as_json: bool
) -> None:
    """Watch the agent NAME live: bots, modes, connections, breakers, queue, limits, latest errors. Ends with q.

    Into a pipe it prints plain lines, one picture a look; with --count the exit code is the last look's, as `status`.

    \b
    jackstay watch mybot
    jackstay watch --all
    jackstay watch mybot --count 1 > now.txt
    """
    eyes = Eyes(None if everyone else _one(name, runtime_dir), runtime_dir)
    if as_json:
        for _ in _looks(eyes, every_s, count):
            click.echo(json.dumps(eyes.facts(), default=str))
        raise SystemExit(eyes.code())
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        for _ in _looks(eyes, every_s, count):
            for row in eyes.drawn(*PLAIN_SIZE):
                click.echo("".join(text for _style, text in row).rstrip())
            click.echo()
        raise SystemExit(eyes.code())
    _live(console, eyes, every_s, count)


class Eyes:
    """What is looked at, with what the look before saw."""

    def __init__(self, agent: Expected | None, runtime_dir: Path | None) -> None:
        self._agent = agent
        self._runtime_dir = runtime_dir
        self._look: Look | None = None
        self._fleet: list[Any] = []
        self._before: tuple[float, dict[str, int]] | None = None

    def look(self) -> None:
        if self._agent is None:
            self._fleet = look(expected(self._runtime_dir)[0])
            return
        seen = look_at(self._agent, patient=False)
        self._look = Look(seen)
        if seen.presence is not Presence.UP:
            self._before = None
            return
        control = self._agent.paths.control
        try:
            self._look.connections = ask(control, "connections.list", timeout_s=1.0)["connections"]
            self._look.errors = ask(control, "errors.list", {"count": ERRORS_SHOWN}, timeout_s=1.0)["errors"]
        except TradingBotError:
            return  # it went between two questions; the next look says so
        now, counters = time.monotonic(), dict(seen.facts["requests"])
        if self._before is not None:
            then, old = self._before
            self._look.rates = {key: max(0.0, (counters[key] - old.get(key, 0)) / (now - then)) for key in counters}
        self._before = (now, counters)

    def drawn(self, width: int, height: int) -> list[list[Line]]:
        if self._agent is None:
            return fleet_screen(self._fleet, width, height)
        assert self._look is not None
        return screen(self._look, width, height)

    def code(self) -> int:
        """Of the last look, the worst where there are several."""
        seen = self._fleet if self._look is None else [self._look.seen]
        return max((code_of(each) for each in seen), default=EXIT_NO_AGENT)

    def facts(self) -> dict[str, Any]:
        if self._agent is None:
            return {"agents": {each.agent.name: plain(each) for each in self._fleet}}
        assert self._look is not None
        found = self._look
        return {**plain(found.seen), "connections": found.connections, "errors": found.errors, "rates": found.rates}


def _one(name: str | None, runtime_dir: Path | None) -> Expected:
    paths = existing_agent(name, runtime_dir)
    return Expected(paths.name, paths, ())


def _looks(eyes: Eyes, every_s: float, count: int | None) -> Iterator[None]:
    seen = 0
    while True:
        eyes.look()
        yield
        seen += 1
        if count is not None and seen >= count:
            return
        sys.stdout.flush()
        time.sleep(every_s)


def _live(console: Any, eyes: Eyes, every_s: float, count: int | None) -> None:
    from rich.live import Live
    from rich.text import Text

    def picture() -> Text:
        width, height = console.size
        text = Text(no_wrap=True, overflow="crop", end="")
        rows = eyes.drawn(width, height)
        for number, row in enumerate(rows):
            for style, cell in row:
                text.append(cell, style or None)
            if number + 1 < len(rows):
                text.append("\n")
        return text

    eyes.look()
    with _keys() as wake, Live(picture(), console=console, screen=True, auto_refresh=False) as live:
        seen = 1
        while count is None or seen < count:
            key = wake(every_s)
            if key in ("q", "Q", "\x03"):
                return
            if key != "resized":
                eyes.look()
                seen += 1
            live.update(picture(), refresh=True)


@contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds and says what ended it: a key, "resized", or "" for the time."""
    import os
    import termios
    import tty

    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    old_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    old_resize = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keyboard) if keyboard is not None else None
    if keyboard is not None:
        tty.setcbreak(keyboard)

    def wake(seconds: float) -> str:
        watched = [read_fd] if keyboard is None else [read_fd, keyboard]
        ready, _, _ = select.select(watched, [], [], seconds)
        if read_fd in ready:
            os.read(read_fd, 64)
            return "resized"
        if keyboard is not None and keyboard in ready:
            return os.read(keyboard, 1).decode("ascii", "replace") or "q"  # the terminal went
        return ""

    try:
        yield wake
    finally:
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old_resize)
        signal.set_wakeup_fd(old_fd)
        os.close(read_fd)
        os.close(write_fd)
