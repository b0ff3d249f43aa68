"""A sidecar that decides nothing: what any agent in Python over ZeroMQ costs before its first own line.

``python bare_relay.py SOCKET PORT``: a ROUTER on uvloop; each frame becomes one fixed order on one kept connection to
the venue at PORT (parsed with httptools), its answer one fixed frame. No codec, no session, no limit, no breaker, no
journal, one request at a time: nobody's product, a floor to measure against.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

READY_S = 10.0


@contextmanager
def bare_relay(venue_url: str) -> Iterator[str]:
    """Its ZeroMQ address, while it runs."""
    from harness import child_env

    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        path = Path(folder) / "relay.sock"
        port = venue_url.rpartition(":")[2]
        relay = subprocess.Popen([sys.executable, __file__, str(path), port], env=child_env())
        try:
            until = time.monotonic() + READY_S
            while not path.exists():
                if relay.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the relay did not start")
                time.sleep(0.01)
            yield f"ipc://{path}"
        finally:
            relay.kill()
            relay.wait()


def main() -> None:
    import httptools
    import uvloop

    from bench.bench_order_path import BODY, HEADERS, PATH
    from bench.static_venue import BODY as ANSWER

    path, port = sys.argv[1], int(sys.argv[2])
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"POST {PATH} HTTP/1.1\r\nHost: venue\r\n{headers}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    class Line(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.identity = b""
            self.parser = httptools.HttpResponseParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_complete(self) -> None:
            self.parser = httptools.HttpResponseParser(self)
            router.send(self.identity, zmq.SNDMORE)
            router.send(ANSWER, zmq.NOBLOCK)

    router: Any = zmq.Context().socket(zmq.ROUTER)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        _transport, line = await loop.create_connection(Line, "127.0.0.1", port)

        def drain() -> None:
            while True:
                try:
                    line.identity, _frame = router.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                line.transport.write(request)

        def look() -> None:  # a send may swallow the wake-up of the next frame
            drain()
            loop.call_later(0.001, look)

        router.bind(f"ipc://{path}")
        loop.add_reader(router.getsockopt(zmq.FD), drain)
        look()
        await asyncio.Event().wait()

    uvloop.run(serve())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
