"""Alerts are handed over: chosen events go to a command and to a webhook, bounded and retried, never waited for.

A sink that is down costs its queue and nothing else: the oldest alert is dropped and counted. The webhook is posted
through a pool like any upstream's, so a slow receiver is a bulkhead of its own. Any event can be an alert, by its name.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import msgspec

from .alert_settings import AlertSettings
from .core.event_sink import EventSink
from .telling import Listener
from .transport.http import HttpAnswer, HttpFailure

BACKOFF_S, BACKOFF_MAX_S = 0.5, 60.0
Post = Callable[[str, list[tuple[bytes, bytes]], bytes, Callable[["HttpAnswer | HttpFailure"], None]], None]


class WebhookSink:
    """Posts documents one after the other; a 2xx ends one, anything else is tried again."""

    def __init__(
        self,
        url: str,
        post: Post,
        *,
        call_later: Callable[[float, Callable[[], None]], Any],
        on_event: EventSink,
        header: str = "",
        waiting_max: int = 1000,
        attempts_max: int = 8,
    ) -> None:
        self._url, self._post = url, post
        self._call_later, self._on_event = call_later, on_event
        name, _, value = header.partition(":")
        self._headers = [(b"Content-Type", b"application/json")]
        if name:
            self._headers.append((name.strip().encode("latin-1"), value.strip().encode("latin-1")))
        self._waiting: deque[bytes] = deque()
        self._waiting_max, self._attempts_max = waiting_max, attempts_max
        self._busy = self._closed = False
        self._attempts = 0
        self.counters = dict.fromkeys(("posted", "retried", "dropped", "given_up"), 0)

    def put(self, document: dict[str, Any]) -> None:
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft() if not self._busy else self._drop_second()
            self.counters["dropped"] += 1
        self._waiting.append(msgspec.json.encode(document, enc_hook=str))
        self._next()

    def _drop_second(self) -> None:
        """The first is under way and stays."""
        first = self._waiting.popleft()
        if self._waiting:
            self._waiting.popleft()
        self._waiting.appendleft(first)

    def _next(self) -> None:
        if self._busy or self._closed or not self._waiting:
            return
        self._busy = True
        self._post(self._url, self._headers, self._waiting[0], self._answered)

    def _answered(self, result: HttpAnswer | HttpFailure) -> None:
        if self._closed:
            return
        if isinstance(result, HttpAnswer) and 200 <= result.status < 300:
            self._done("posted")
            return
        self._attempts += 1
        why = f"status {result.status}" if isinstance(result, HttpAnswer) else f"{result.cause}: {result.detail}"
        if self._attempts >= self._attempts_max:
            self._on_event("alert.given_up", {"sink": "webhook", "attempts": self._attempts, "why": why[:200]})
            self._done("given_up")
            return
        self.counters["retried"] += 1
        delay_s = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (self._attempts - 1))
        self._call_later(delay_s, self._again)

    def _done(self, counter: str) -> None:
        self.counters[counter] += 1
        self._waiting.popleft()
        self._attempts, self._busy = 0, False
        self._next()

    def _again(self) -> None:
        self._busy = False
        self._next()

    def close(self) -> None:
        self._closed = True

    def status(self) -> dict[str, Any]:
        return {"waiting": len(self._waiting), **self.counters}


class CommandSink:
    """Starts a command per alert, one at a time, the event on its standard input."""

    def __init__(self, command: list[str], *, timeout_s: float, on_event: EventSink, waiting_max: int = 1000) -> None:
        self._command, self._timeout_s, self._on_event = command, timeout_s, on_event
        self._waiting: deque[bytes] = deque()
        self._waiting_max = waiting_max
        self._task: asyncio.Task[None] | None = None
        self.counters = dict.fromkeys(("ran", "failed", "dropped"), 0)

    def put(self, document: dict[str, Any]) -> None:
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft()
            self.counters["dropped"] += 1
        self._waiting.append(msgspec.json.encode(document, enc_hook=str))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_all(), name="alert command")

    async def _run_all(self) -> None:
        while self._waiting:
            why = await self._run_one(self._waiting.popleft())
            if why:
                self.counters["failed"] += 1
                self._on_event("alert.command_failed", {"command": self._command[0], "why": why})
            else:
                self.counters["ran"] += 1

    async def _run_one(self, document: bytes) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            return str(error)
        try:
            await asyncio.wait_for(process.communicate(document), self._timeout_s)
        except TimeoutError:
            return f"still running after {self._timeout_s:g} s: it was killed"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return "" if process.returncode == 0 else f"exit code {process.returncode}"

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def status(self) -> dict[str, Any]:
        return {"waiting": len(self._waiting), **self.counters}


class Alerts(Listener):
    """Chooses events by name and gives them to the sinks there are. Its own troubles are never alerts."""

    def __init__(self, agent: str, settings: AlertSettings, sinks: list[WebhookSink | CommandSink]) -> None:
        self._agent = agent
        self.sinks = sinks
        patterns = tuple(settings.events)
        self._wanted = lru_cache(maxsize=4096)(lambda name: any(fnmatchcase(name, each) for each in patterns))

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if not self.sinks or name.startswith("alert.") or not self._wanted(name):
            return
        document = {"agent": self._agent, "event": name, "at_us": wall_us, "fields": fields}
        for sink in self.sinks:
            sink.put(document)
