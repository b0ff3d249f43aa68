"""Requests run without tasks: started and resumed by hand, each news delivered once."""

from __future__ import annotations

import asyncio

import pytest

from jackstay_agent.flight import Flight, Reply, landing


def test_runs_to_the_end_without_a_loop() -> None:
    """A coroutine that waits for replies needs no event loop at all."""
    reply: Reply[int] = Reply()
    seen: list[int] = []

    async def journey() -> None:
        seen.append(await reply)
        seen.append(99)

    flight = Flight(journey(), failed=lambda error: pytest.fail(str(error)))
    flight.step()
    assert seen == []
    reply.set(7)
    assert seen == [7, 99]
    assert flight.ended


def test_a_reply_set_before_it_is_awaited_is_seen_at_once() -> None:
    """News that arrives while the coroutine is still running is not lost."""
    seen: list[str] = []

    async def journey() -> None:
        reply: Reply[str] = Reply()
        reply.set("early")
        seen.append(await reply)

    Flight(journey(), failed=lambda error: pytest.fail(str(error))).step()
    assert seen == ["early"]


def test_the_first_news_wins() -> None:
    """A second value for the same reply changes nothing."""
    reply: Reply[int] = Reply()
    seen: list[int] = []

    async def journey() -> None:
        seen.append(await reply)

    Flight(journey(), failed=lambda error: pytest.fail(str(error))).step()
    reply.set(1)
    reply.set(2)
    assert seen == [1]


def test_an_escaping_error_is_told_once() -> None:
    """An exception that leaves the coroutine goes to `failed` and ends the flight."""
    errors: list[BaseException] = []
    reply: Reply[None] = Reply()

    async def journey() -> None:
        await reply
        raise RuntimeError("boom")

    flight = Flight(journey(), failed=errors.append)
    flight.step()
    reply.set(None)
    flight.step()
    assert [str(error) for error in errors] == ["boom"]


def test_cancel_lets_the_coroutine_clean_up() -> None:
    """Cancellation is neither success nor failure: finally runs, `failed` hears nothing."""
    cleaned: list[bool] = []
    reply: Reply[None] = Reply()

    async def journey() -> None:
        try:
            await reply
        finally:
            cleaned.append(True)

    flight = Flight(journey(), failed=lambda error: pytest.fail(str(error)))
    flight.step()
    flight.cancel()
    assert cleaned == [True]
    reply.set(None)  # late news after the end does no harm
    assert flight.ended


@pytest.mark.asyncio
async def test_asyncio_futures_can_be_awaited_too() -> None:
    """A journal commit on a thread is an asyncio future; the flight resumes when it is done."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    done = asyncio.Event()
    seen: list[int] = []

    async def journey() -> None:
        seen.append(await future)
        done.set()

    Flight(journey(), failed=lambda error: pytest.fail(str(error))).step()
    loop.call_soon(future.set_result, 5)
    await done.wait()
    assert seen == [5]


@pytest.mark.asyncio
async def test_a_task_waits_for_a_journey_by_its_landing() -> None:
    """A task cannot await a reply itself: values and errors arrive as a future's do; one that left does no harm."""
    loop = asyncio.get_running_loop()
    replies: list[Reply[int]] = [Reply(), Reply(), Reply()]

    async def journey(number: int) -> int:
        value = await replies[number]
        if value < 0:
            raise ValueError(str(value))
        return value

    landings = [landing(journey(number), loop) for number in range(3)]
    landings[2].cancel()
    for number, value in enumerate((5, -1, 7)):
        loop.call_soon(replies[number].set, value)
    assert await landings[0] == 5
    with pytest.raises(ValueError, match="-1"):
        await landings[1]
    assert replies[2].done
