"""A venue that costs next to nothing: one fixed order answer per request, kept alive, in its own process.

``python static_venue.py`` prints its port; `static_venue` runs it. Benches measure the way to it, so it has to be the
smallest part of them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BODY = (
    b'{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP",'
    b'"transactTime":1507725176595,"price":"50000.00","origQty":"0.01","executedQty":"0.00",'
    b'"cummulativeQuoteQty":"0.00","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY"}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nX-MBX-USED-WEIGHT-1M: 12\r\n"
    b"X-MBX-ORDER-COUNT-10S: 3\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


@contextmanager
def static_venue() -> Iterator[str]:
    """Its URL, while it runs."""
    from harness import child_env

    venue = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, env=child_env())
    assert venue.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(venue.stdout.readline())}"
    finally:
        venue.kill()
        venue.wait()
        venue.stdout.close()


def main() -> None:
    import httptools
    import uvloop

    class Venue(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_complete(self) -> None:
            self.transport.write(ANSWER)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Venue, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
