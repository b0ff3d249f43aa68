"""Five agents at 3 a.m.: real processes against the sandbox, for the drill that OPERATIONS.md shows.

basis was killed; grid's bot grid1 hangs and has entries and a stop open; maker has an order whose answer was lost;
scalp was told to wait by the venue; trend does not run (SIGSTOP). Nothing heals by itself while the drill goes on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pytest

from e2e_bot import HOST, RESOLVING, client_for, place, routed
from harness import AgentProcess, child_env, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import OutcomeUnknown

AGENTS = ("basis", "grid", "maker", "scalp", "trend")
WAIT_S = 600
GRID = '"ws-api.binance.com" = "{url}"\n' + RESOLVING
HANGING_BOT = """
import sys
sys.path.insert(0, sys.argv[1])
from e2e_bot import HOST, KEY, order_params, signed
import jackstay
client = jackstay.Client("grid", bot_id="grid1", beat_within_s=0.5)
headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
stop = {"side": "SELL", "type": "STOP_LOSS_LIMIT", "price": "30000.00", "stopPrice": "30100.00"}
for name, more in (("grid1-1", {"price": "21000.00"}), ("grid1-2", {"price": "20500.00"}), ("grid1-3", stop)):
    body = signed(order_params(name) | more).encode()
    answer = client.request("POST", HOST + "/api/v3/order", headers=headers, body=body, deadline_s=20)
    assert answer.ok, answer.body
print("placed", flush=True)
while True:
    client.beat()
    sys.stdin.readline()
"""


class Incident:
    """Enter it and the night has begun; ``env`` is the operator's."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="js-")
        self.runtime = Path(self._folder.name)
        self._etc = self.runtime / "etc"
        self._etc.mkdir()
        self._exchange = SandboxProcess(seed=3)
        self.agents: dict[str, AgentProcess] = {}
        self._bot: subprocess.Popen[str] | None = None
        self.env = child_env() | {"JACKSTAY_RUNTIME_DIR": str(self.runtime), "JACKSTAY_CONFIG_DIR": str(self._etc)}

    def __enter__(self) -> Incident:
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bot is not None:
            self._bot.kill()
            self._bot.communicate()
        for agent in self.agents.values():
            agent.stop()
        self._exchange.__exit__(kind, error, trace)
        self._folder.cleanup()

    def _begin(self) -> None:
        self._exchange.__enter__()
        for name in AGENTS:
            config = routed(self._exchange.url, GRID.format(url=self._exchange.url) if name == "grid" else "")
            (self._etc / f"{name}.toml").write_text(config, encoding="utf-8")
            self.agents[name] = AgentProcess(config, name=name, runtime_dir=self.runtime)
        with ThreadPoolExecutor(len(AGENTS)) as pool:
            list(pool.map(AgentProcess.start, self.agents.values()))
        self._grid_bot_hangs()
        with client_for(self.agents["maker"], bot_id="maker1") as maker:
            self._exchange.admin.fault("reset_before", route="POST /api/v3/order", count=1)
            with pytest.raises(OutcomeUnknown):
                place(maker, self._exchange, "maker1-7")
        with client_for(self.agents["scalp"], bot_id="scalp1") as scalp:
            told = [["Retry-After", str(WAIT_S)], ["Content-Type", "application/json"]]
            body = '{"code":-1003,"msg":"Too many requests."}'
            self._exchange.admin.fault("answer", count=1, status=429, headers=told, body=body)
            scalp.request("GET", f"{HOST}/api/v3/time", deadline_s=5)
        self.agents["basis"].kill()
        self.agents["trend"].signal(signal.SIGSTOP)

    def _grid_bot_hangs(self) -> None:
        self._bot = subprocess.Popen(
            [sys.executable, "-c", HANGING_BOT, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        assert self._bot.stdout is not None
        assert self._bot.stdout.readline() == "placed\n"
        self._bot.send_signal(signal.SIGSTOP)
        limit_at = time.monotonic() + 30
        while True:
            bots = json.loads(cli("bot", "list", "-a", "grid", "--json", runtime_dir=self.runtime).stdout)
            if bots.get("grid1", {}).get("state") == "stalled":
                return
            assert time.monotonic() < limit_at, f"grid1 did not stall: {bots}"
