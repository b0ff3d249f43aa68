"""Run a request's coroutine without a task.

A request passes through the pipeline as one coroutine that waits for very few things: an answer of the venue, a
commit of the journal, a turn of the limiter. A task would add two loop iterations and two wake-ups to each (measured:
a task per request cost 1.3-1.5 x aiohttp's whole round trip, callbacks 1.0-1.2 x). So the coroutine is started and
resumed by hand, in the callback that brings the news: it reads like a coroutine and costs like a callback.

`Reply` is what such a coroutine awaits. Anything else awaitable (asyncio futures) works too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Reply(Generic[T]):
    """A value that arrives once, by callback. Later values are ignored: the first news wins."""

    __slots__ = ("_resume", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._resume: Callable[[], None] | None = None
        self._value: T | None = None

    def set(self, value: T) -> None:
        if self.done:
            return
        self.done = True
        self._value = value
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            yield self
        return self._value  # type: ignore[return-value]


def landing(work: Coroutine[Any, None, T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    """What the coroutine gives, for an asyncio task to await: a task cannot wait for a `Reply` itself.

    Who cancels the future no longer hears of it; the coroutine goes on to its end.
    """
    landed: asyncio.Future[T] = loop.create_future()

    def arrive(value: T) -> None:
        if not landed.done():
            landed.set_result(value)

    def fail(error: BaseException) -> None:
        if not landed.done():
            landed.set_exception(error)

    Flight(work, fail, arrive).step()
    return landed


class Flight:
    """A coroutine under way. ``failed`` hears of an exception that escaped it; it is a bug in the pipeline.

    ``arrived`` is given what the coroutine returns. It is no coroutine around the coroutine: of two that nobody resumes
    any more the collector may close the inner one first, and then complains that the outer one cannot be closed.
    """

    __slots__ = ("_arrived", "_coroutine", "_failed", "_running", "ended")

    def __init__(
        self,
        coroutine: Coroutine[Any, None, T],
        failed: Callable[[BaseException], None],
        arrived: Callable[[T], None] | None = None,
    ) -> None:
        self._coroutine = coroutine
        self._failed = failed
        self._arrived = arrived
        self._running = False
        self.ended = False

    def step(self) -> None:
        """Run until the next wait. A reply that is set while the coroutine runs is seen without waiting."""
        if self.ended or self._running:
            return
        self._running = True
        try:
            waiting = self._coroutine.send(None)
        except StopIteration as end:
            self.ended = True
            if self._arrived is not None:
                self._arrived(end.value)
            return
        except BaseException as error:
            self.ended = True
            self._failed(error)
            if not isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
                raise
            return
        finally:
            self._running = False
        if isinstance(waiting, Reply):
            waiting._resume = self.step
        else:
            waiting._asyncio_future_blocking = False
            waiting.add_done_callback(self._step_on_future)

    def _step_on_future(self, _future: Any) -> None:
        self.step()

    def cancel(self) -> None:
        """End it where it stands: the coroutine sees CancelledError and cleans up."""
        if self.ended:
            return
        try:
            self._coroutine.throw(asyncio.CancelledError())
        except (StopIteration, asyncio.CancelledError):
            pass
        except BaseException as error:
            self._failed(error)
        self.ended = True
        self._coroutine.close()
