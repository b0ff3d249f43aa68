"""jackstay_agent.transport.ws_dial in a fresh interpreter: the library comes with the first dial, beside the loop."""

from __future__ import annotations

import json
import subprocess
import sys

from harness import child_env

SCRIPT = """
import asyncio, json, socket, sys
from jackstay_agent.transport import ws_dial as lazily
from jackstay_protocols.errors import ExchangeError

async def turns(seen):
    while True:
        seen.add(("picows" in sys.modules, lazily._connect is not None))
        await asyncio.sleep(0)

async def refused(port):
    try:
        await lazily.ws_dial(f"ws://127.0.0.1:{port}/", on_messages=print, on_close=print, timeout_s=30)
    except ExchangeError as error:
        return str(error.reason)

async def main():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        seen = set()
        beside = asyncio.create_task(turns(seen))
        await asyncio.sleep(0)
        ends = await asyncio.gather(*(refused(taken.getsockname()[1]) for _ in range(3)))
        beside.cancel()
        print(json.dumps([ends, sorted(seen)]))

asyncio.run(main())
"""


def test_the_first_dials_load_the_library_beside_the_loop() -> None:
    """Not there before; several at once each get their answer; the loop takes turns while it is being loaded."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=child_env())
    ends, seen = json.loads(done.stdout)
    assert ends == ["refused"] * 3
    assert seen == [[False, False], [True, False], [True, True]]  # (library there, dial ready) as the loop saw it
