"""Carrying a fault out: what the client sees, and whether the engine executed the request behind its back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from .answers import Answer, json_answer
from .faults import Fault
from .ledger import Row
from .wire import RawAnswer, RawStream, head, never, reset

CHUNK = b"x" * 65_536
PAUSE_S = 0.001

Process = Callable[[], Answer]
Decide = Callable[[Row, int | str, Answer | None], None]


def answer_bytes(answer: Answer, *, keep_alive: bool = True) -> bytes:
    """A well-formed HTTP/1.1 answer in one piece."""
    headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
    if not keep_alive:
        headers.append(("Connection", "close"))
    return head(answer.status, headers) + answer.body


async def strike(
    fault: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide
) -> web.StreamResponse:
    """Do to this request what the fault says. `process` runs it in the engine; `decide` writes its outcome down."""
    effect = _EFFECTS[fault.kind]
    response: web.StreamResponse = await effect(fault, request, row, process, decide)
    return response


async def _reset_before(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    decide(row, "reset", None)
    reset(request)
    return RawAnswer(b"", close=True)


async def _reset_after(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    decide(row, "reset", process())
    reset(request)
    return RawAnswer(b"", close=True)


async def _drop_reply(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    decide(row, "none", process())
    await never()
    return RawAnswer(b"", close=True)


async def _half_open(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    """The connection stands, and nobody reads it any more: not even its end is noticed."""
    decide(row, "none", None)
    if request.transport is not None:
        request.transport.pause_reading()
    await never()
    return RawAnswer(b"", close=True)


async def _content_type(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    """The true answer under a wrong label."""
    answer = process()
    decide(row, answer.status, answer)
    answer.headers = [(name, value) for name, value in answer.headers if name != "Content-Type"]
    answer.headers.append(("Content-Type", f.params["type"]))
    return RawAnswer(answer_bytes(answer))


async def _stall(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    decide(row, "none", None)
    await never()
    return RawAnswer(b"", close=True)


async def _answer(fault: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    given: dict[str, Any] = fault.params
    body = base64.b64decode(given["body_b64"]) if given["body_b64"] else given["body"].encode()
    decide(row, given["status"], process() if given["execute"] else None)
    headers = [(name, value) for name, value in given["headers"]]
    names = {name.lower() for name, _ in headers}
    if not names & {"content-length", "transfer-encoding"}:
        headers.append(("Content-Length", str(len(body))))
    close = any(name.lower() == "connection" and value.lower() == "close" for name, value in headers)
    return RawAnswer(head(given["status"], headers, given["reason"]) + body, close=close)


async def _truncate(fault: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    answer = _run(fault, row, process, decide)
    whole = answer_bytes(answer)
    missing = max(1, min(int(fault.params["missing_bytes"]), len(answer.body)))
    return RawAnswer(whole[:-missing], close=True)


async def _drip(fault: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    answer = process()
    decide(row, answer.status, answer)

    async def pieces() -> AsyncIterator[bytes]:
        whole = answer_bytes(answer, keep_alive=False)
        for at in range(len(whole)):
            yield whole[at : at + 1]
            await asyncio.sleep(fault.params["delay_ms"] / 1000)

    return RawStream(pieces())


async def _endless_headers(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    _run(f, row, process, decide)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        number = 0
        while True:
            yield b"".join(b"X-Header-%d: on and on\r\n" % (number + at) for at in range(100))
            number += 100
            await asyncio.sleep(PAUSE_S)

    return RawStream(pieces())


async def _endless_body(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    _run(f, row, process, decide)

    async def pieces() -> AsyncIterator[bytes]:
        yield head(200, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")])
        while True:
            yield b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK)
            await asyncio.sleep(PAUSE_S)

    return RawStream(pieces())


async def _oversize(fault: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    _run(fault, row, process, decide)
    left = int(fault.params["bytes"])

    async def pieces() -> AsyncIterator[bytes]:
        yield head(200, [("Content-Type", "application/json"), ("Content-Length", str(left))])
        for at in range(0, left, len(CHUNK)):
            yield CHUNK[: left - at]

    return RawStream(pieces())


async def _reply_twice(f: Fault, request: web.BaseRequest, row: Row, process: Process, decide: Decide) -> RawAnswer:
    answer = process()
    decide(row, answer.status, answer)
    return RawAnswer(answer_bytes(answer) * 2)


def _run(fault: Fault, row: Row, process: Process, decide: Decide) -> Answer:
    """Execute the request if the fault says so, and write the outcome down as the client will see it begin."""
    if fault.params["execute"]:
        answer = process()
        decide(row, answer.status, answer)
        return answer
    answer = json_answer({})
    decide(row, answer.status, None)
    return answer


_EFFECTS: dict[str, Callable[..., Any]] = {
    "reset_before": _reset_before,
    "reset_after": _reset_after,
    "drop_reply": _drop_reply,
    "stall": _stall,
    "half_open": _half_open,
    "content_type": _content_type,
    "answer": _answer,
    "truncate": _truncate,
    "drip": _drip,
    "reply_twice": _reply_twice,
    "endless_headers": _endless_headers,
    "endless_body": _endless_body,
    "oversize": _oversize,
}
