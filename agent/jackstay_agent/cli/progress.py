"""A bar for work that takes a while, a word for an answer that does: on a terminal's standard error, gone when it is
done, nothing anywhere else.

Shown only once the work has lasted half a second, so that what is quick stays without it; rich is loaded then, too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SHOWN_AFTER_S = 0.5


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A function that is told how much more of ``total`` is done."""
    if not sys.stderr.isatty():
        yield lambda _more: None
        return
    bar = _Bar(what, total)
    try:
        yield bar.advance
    finally:
        bar.end()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says what is waited for, if it is not there soon."""
    if not sys.stderr.isatty():
        yield
        return
    word = _Word(what)
    later = threading.Timer(SHOWN_AFTER_S, word.show)
    later.daemon = True
    later.start()
    try:
        yield
    finally:
        later.cancel()
        word.end()


class _Word:
    """Shown by the timer's thread, ended by the command's."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._turn = threading.Lock()
        self._ended = False
        self._shown: Any = None

    def show(self) -> None:
        from rich.console import Console

        with self._turn:
            if not self._ended:
                self._shown = Console(stderr=True).status(self._what)
                self._shown.start()

    def end(self) -> None:
        with self._turn:
            self._ended = True
            if self._shown is not None:
                self._shown.stop()


class _Bar:
    def __init__(self, what: str, total: float) -> None:
        self._what, self._total = what, total
        self._began = time.monotonic()
        self._done = 0.0
        self._shown: Any = None
        self._task: Any = None

    def advance(self, more: float) -> None:
        self._done += more
        if self._shown is None and time.monotonic() - self._began > SHOWN_AFTER_S:
            from rich.console import Console
            from rich.progress import Progress

            self._shown = Progress(console=Console(stderr=True), transient=True)
            self._task = self._shown.add_task(self._what, total=self._total)
            self._shown.start()
        if self._shown is not None:
            self._shown.update(self._task, completed=self._done)

    def end(self) -> None:
        if self._shown is not None:
            self._shown.stop()
