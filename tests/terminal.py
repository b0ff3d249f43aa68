"""A terminal in memory: a program on a pty of some size, and what its screen shows (pyte)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pyte


class Terminal:
    """Runs ``words`` on a screen of ``columns`` x ``rows``."""

    def __init__(self, words: list[str], *, columns: int, rows: int, env: dict[str, str]) -> None:
        self.columns, self.rows = columns, rows
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self._size(slave)
        # rich asks COLUMNS and LINES first: the terminal itself is to be asked here
        given = {key: value for key, value in env.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        given["TERM"] = "xterm-256color"
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=given | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        self.raw = b""

    def _size(self, fd: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """As a window's border is dragged: the kernel is told, and the program is."""
        self.columns, self.rows = columns, rows
        self._screen.resize(rows, columns)
        self._size(self._master)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def shows(self, wanted: Callable[[list[str]], bool], *, within_s: float = 30.0) -> list[str]:
        """Read until the screen is as wanted; its lines."""
        limit_at = time.monotonic() + within_s
        while not wanted(self.lines()):
            left = limit_at - time.monotonic()
            ready, _, _ = select.select([self._master], [], [], max(0.0, left))
            assert ready, "the screen shows:\n" + "\n".join(self.lines())
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program ended
                raise AssertionError("it ended, showing:\n" + "\n".join(self.lines())) from None
            self.raw += data
            self._stream.feed(data)
        return self.lines()

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    def ended(self, within_s: float = 10.0) -> int:
        """Its exit code; what it says to the end is read."""
        limit_at = time.monotonic() + within_s
        while self.process.poll() is None and time.monotonic() < limit_at:
            ready, _, _ = select.select([self._master], [], [], 0.05)
            if ready:
                try:
                    self.raw += os.read(self._master, 65536)
                except OSError:
                    break
        return self.process.wait(within_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._master)
