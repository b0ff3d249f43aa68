"""One client that sends beats as fast as its socket takes them: what operators must still be answered beside."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from jackstay_protocols.codec import encode
from jackstay_protocols.messages import Beat, Hello


@contextmanager
def flooded(address: str) -> Iterator[None]:
    """From its greeting on, by a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_flood, args=(address, ready), daemon=True)
    process.start()
    try:
        assert ready.wait(20), "the flood found no agent"
        yield
    finally:
        process.kill()
        process.join()


def _flood(address: str, ready: Any) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    socket.send(encode(Hello("flood", "primary", os.getpid(), "0", 1, 1), id=1))
    socket.recv()
    ready.set()
    frame = encode(Beat(1), id=0)
    while True:
        try:
            for _ in range(100):
                socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            socket.poll(1, zmq.POLLOUT)
