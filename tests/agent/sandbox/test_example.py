"""The rehearsal in docs/SANDBOX.md runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain

PAGE = Path(__file__).parents[3] / "docs" / "SANDBOX.md"


class Bot:
    """A bot that loses its order's answer and, rightly, does not send it again."""

    def __init__(self, port: int) -> None:
        self._port = port

    def buy(self, name: str) -> None:
        sandbox = SandboxProcess(port=self._port)
        try:
            Plain(sandbox).place(name)
        except ConnectionError:
            pass


def test_the_printed_example_runs() -> None:
    """The page's Python example runs against a bot and its assertions hold."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, "docs/SANDBOX.md", "exec"), {"start_my_bot": lambda url: Bot(int(url.rpartition(":")[2]))})
