"""The demo's processes: a sandbox exchange, an agent and a ccxt bot, taken down in reverse order whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from jackstay_protocols.endpoints import AgentPaths

from ..control import ask
from ..sandbox import SandboxProcess

ANSWER_S = 30.0


class DemoBot:
    """The ccxt bot, steered by JSON lines."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jackstay.demo_bot"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
            bufsize=1,
        )
        self.read()

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the demo bot ended early; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the demo bot failed: {answer['error']}")
        return answer

    def begin(self, verb: str, **args: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": verb} | args) + "\n")
        self._process.stdin.flush()

    def do(self, verb: str, **args: Any) -> dict[str, Any]:
        self.begin(verb, **args)
        return self.read()

    def kill(self) -> None:
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class DemoAgent:
    """The agent, as `jackstay run` starts it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.paths = AgentPaths("demo", folder / "demo")
        self.log_path = folder / "agent.log"
        self._folder = folder
        self._config_path = folder / "demo.toml"
        self._config_path.write_text(config, encoding="utf-8")
        self.env = os.environ | {"JACKSTAY_AGENT": "demo", "JACKSTAY_RUNTIME_DIR": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        read_fd, write_fd = os.pipe()
        command = [sys.executable, "-m", "jackstay_agent.cli", "run", "demo", "--config", str(self._config_path)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--runtime-dir", str(self._folder), "--ready-fd", str(write_fd)],
                pass_fds=(write_fd,),
                stderr=log,
                env=self.env | {"DEMO_KEY": "sandbox-key", "DEMO_SECRET": "sandbox-secret"},
            )
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as ready:
            if ready.readline() != b"ready\n":
                raise RuntimeError(f"the agent did not start: {self.log_path.read_text(encoding='utf-8')}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9: nothing can be tidied up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def status(self) -> dict[str, Any]:
        return ask(self.paths.control, "status")

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Logged events of these names, oldest first."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in logged if event.get("event") in names]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)


class Stage:
    """Sandbox, agent and bot, taken down in reverse order whatever happens."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jackstay-")
        self.sandbox = SandboxProcess(seed=7, state=Path(self._folder.name) / "exchange")
        self._down: list[Callable[[], None]] = [self._folder.cleanup]

    def __enter__(self) -> Stage:
        try:
            self.sandbox.start()
            self._down.append(self._stop_sandbox)
            folder = Path(self._folder.name)
            profiles = folder / "profiles"
            profiles.mkdir()
            (profiles / "binance.toml").write_text(PROFILE, encoding="utf-8")
            self.agent = DemoAgent(folder, demo_config(self.sandbox.url, self.sandbox.ws_url, profiles))
            self.agent.start()
            self._down.append(self.agent.stop)
            self.bot = DemoBot(self.agent.env)
            self._down.append(self._stop_bot)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for step in reversed(self._down):
            step()

    def _stop_bot(self) -> None:
        self.bot.stop()  # the one that is there by then

    def _stop_sandbox(self) -> None:
        self.sandbox.stop()

    def both_die(self) -> None:
        """kill -9 of agent and bot, then both are started again, as systemd would."""
        self.agent.kill()
        self.bot.kill()
        self.agent.start()
        self.bot = DemoBot(self.agent.env)

    def arrivals(self, client_ids: list[str]) -> Counter[str]:
        """How often a placing request of each client id reached the venue: its ledger's word."""
        wanted = set(client_ids)
        return Counter(row["client_order_id"] for row in self._placing() if row["client_order_id"] in wanted)

    def arm(self, preset: str, silence_s: float | None = None) -> None:
        """An operator's word; the demo has no day of history to stand on, hence ``anyway``."""
        ask(self.agent.paths.control, "arm", {"preset": preset, "silence_s": silence_s, "anyway": True})

    def open_orders(self) -> set[str]:
        """Client ids of what rests on the venue's book, by the venue's own word."""
        live = ("NEW", "PARTIALLY_FILLED", "PENDING_NEW")
        return {each["clientOrderId"] for each in self.sandbox.admin.orders() if each["status"] in live}

    def executed(self, client_ids: list[str]) -> set[str]:
        """Which of these the venue carried out."""
        wanted = set(client_ids)
        return {row["client_order_id"] for row in self._placing() if row["executed"]} & wanted

    def _placing(self) -> list[dict[str, Any]]:
        return self.sandbox.admin.ledger(path="/api/v3/order", method="POST")


#: The simulated venue shows its orders at once, so "no such order" needs less patience than at the real one.
PROFILE = """
name = "binance"
extends = "binance"
[families.plain]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.1
"""


def demo_config(rest_url: str, ws_url: str, profiles: Path) -> str:
    """The agent's configuration: the exchange's own names, led to the sandbox."""
    ws_origin = ws_url.removesuffix("/ws")
    return f"""
[agent]
log_format = "json"
profiles_dir = "{profiles}"

[venues.binance]
live = false
keys = {{ env = "DEMO" }}

[upstreams]
"api.binance.com" = "{rest_url}"
"stream.binance.com:9443" = "{ws_origin}"

[bot]
beat_within_s = 1.0

[feeds.binance]
url = "wss://stream.binance.com:9443/stream"
dialect = "binance"
"""
