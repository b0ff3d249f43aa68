"""The whole protection table at a venue: each state a bot can be in, each preset, each class, open and still queued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_bot import RESOLVING, routed
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain

#: Six bots with a book of all classes each; a word in a file makes one queue two orders more, or say goodbye.
FAMILY = r"""
import json, os, sys, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
from pathlib import Path
from urllib.parse import urlencode
import jackstay
from e2e_bot import HOST, KEY, signed

FORM = ("Content-Type", "application/x-www-form-urlencoded")

def bot(number, name, word):
    client = jackstay.Client(bot_id=name, beat_within_s=0.5)
    common = {"symbol": "BTCUSDT", "quantity": "0.001"}

    def limit(end, side, price, **more):
        given = {"side": side, "type": "LIMIT", "timeInForce": "GTC", "price": f"{price + number}.00"}
        return common | given | {"newClientOrderId": f"{name}-{end}"} | more

    def place(params, path="/api/v3/order", tag=""):
        answer = client.request("POST", HOST + path, headers=[("X-MBX-APIKEY", KEY), FORM],
                                body=signed(params).encode(), deadline_s=10, tag=tag)
        assert answer.status == 200, (params, answer.body)

    place(limit("e", "BUY", 40000))
    place(limit("x", "SELL", 70000))
    place(limit("s", "SELL", 29000, type="STOP_LOSS_LIMIT", stopPrice=f"{30000 + number}.00"))
    place(common | {"side": "SELL", "listClientOrderId": f"{name}-oco",
          "aboveType": "LIMIT_MAKER", "abovePrice": f"{80000 + number}.00", "aboveClientOrderId": f"{name}-up",
          "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": f"{25000 + number}.00", "belowTimeInForce": "GTC",
          "belowPrice": f"{24900 + number}.00", "belowClientOrderId": f"{name}-down"}, "/api/v3/orderList/oco")
    place(limit("h", "BUY", 35000), tag="hedge")
    place(limit("u", "BUY", 36000), tag="unknown")
    os.write(1, f"{name} {os.getpid()}\n".encode())  # in one piece: the brothers write too
    while True:
        client.beat()
        time.sleep(0.05)
        said = word.read_text() if word.exists() else ""
        word.unlink(missing_ok=True)
        if said == "queue":
            for params in (limit("qe", "BUY", 41000), limit("qx", "SELL", 71000)):
                client.post("POST", HOST + "/api/v3/order", headers=[FORM], body=urlencode(params).encode(),
                            sign=True, ttl_s=600)
            os.write(1, f"{name} queued\n".encode())
        elif said:
            client.close(reason="going", orders=said, back_within_s=600)
            os._exit(0)

for number, name in enumerate(sys.argv[2:]):
    if os.fork() == 0:
        bot(number, name, Path(sys.argv[1]) / name)
while True:
    os.wait()
"""
NAMES = ("well", "silent", "dead", "left", "leaving", "held")
BOOK = {"e": "entry", "x": "exit", "s": "protective", "up": "protective", "down": "protective"} | {
    "h": "hedge",
    "u": "unknown",
}
QUEUED = {"qe": "entry", "qx": "exit"}
#: DESIGN §5 once more, by hand: which classes go; where anything is done, what is queued as an entry waits.
GOES = {"observe": set[str](), "directional": {"entry"}, "market_maker": {"entry", "exit"}, "hedged": set[str]()}
ASKED = {"observe": {"entry"}, "directional": {"entry"}, "market_maker": {"entry", "exit"}, "hedged": {"entry"}}


def expected(preset: str, states: dict[str, str]) -> set[str]:
    """Client ids that are open at the venue."""
    found = {"human"}
    for name, state in states.items():
        gone = GOES[preset] if state in ("stalled", "dead") else ASKED[preset] if state == "leaving" else set()
        waits = {"entry"} | gone if state in ("late", "stalled", "dead", "held") and preset != "observe" else gone
        found |= {f"{name}-{end}" for end, kind in BOOK.items() if kind not in gone}
        found |= {f"{name}-{end}" for end, kind in QUEUED.items() if kind not in waits}
    return found


class Stage:
    """The family at a venue that goes away and comes back, under an agent with a key that may cancel."""

    def __init__(self, folder: Path, preset: str) -> None:
        self.sandbox = SandboxProcess(seed=1, quiet=True, state=folder / "venue")
        self.folder, self.preset = folder, preset
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Stage:
        self.sandbox.start()
        config = "[watchdog]\nrestart_grace_s = 0.5\n" + RESOLVING
        self.agent = AgentProcess(routed(self.sandbox.url, config))
        self.agent.start()
        self.family = subprocess.Popen(
            [sys.executable, "-c", FAMILY, str(self.folder), *NAMES],
            env=self.agent.env | {"TEST_PATH": json.dumps(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pids = {name: int(pid) for name, pid in self.lines(len(NAMES))}
        assert "orderId" in Plain(self.sandbox).place("human", price="31000.00", quantity="0.001")
        self.arm("600s")
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.family.pid, signal.SIGKILL)
        self.family.communicate()
        self.agent.__exit__(None, None, None)
        self.sandbox.stop()

    def lines(self, count: int) -> list[tuple[str, str]]:
        assert self.family.stdout is not None
        found = [self.family.stdout.readline().split() for _ in range(count)]
        assert all(len(each) == 2 for each in found), (found, self.agent.log()[-4000:])
        return [(name, word) for name, word in found]

    def say(self, name: str, word: str) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.write_text(word)
        fresh.rename(self.folder / name)

    def arm(self, silence: str) -> None:
        where = self.agent.runtime_dir
        done = cli("arm", "--preset", self.preset, "--silence", silence, "--anyway", runtime_dir=where)
        assert done.returncode == 0, done.stderr

    def states(self) -> dict[str, str]:
        bots = ask(self.agent.runtime_dir / self.agent.name / "control.sock", "watchdog")["bots"]
        return {name: str(each["state"]) for name, each in bots.items()}

    def until(self, condition: Callable[[], bool], what: Callable[[], object]) -> None:
        limit_at = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < limit_at, f"not so: {what()}\n{self.agent.log()[-6000:]}"
            time.sleep(0.05)

    def until_states(self, wanted: dict[str, str]) -> None:
        self.until(lambda: wanted.items() <= self.states().items(), lambda: (wanted, self.states()))

    def open(self) -> set[str]:
        live = (each for each in self.sandbox.admin.orders() if each["status"] in ("NEW", "PARTIALLY_FILLED"))
        return {str(each["clientOrderId"]) for each in live}

    def until_open(self, wanted: set[str]) -> None:
        def differs() -> object:
            return f"too many {self.open() - wanted}, too few {wanted - self.open()}"

        self.until(lambda: self.open() == wanted, differs)

    def told(self, event: str) -> dict[str, dict[str, Any]]:
        return {each["bot"]: each for each in self.agent.events(event)}

    def restart_agent(self) -> None:
        """kill -9; what it held is on the disk within a tick."""
        kept = self.agent.runtime_dir / self.agent.name / "state" / "watchdog.json"
        self.until(lambda: "silent" in json.loads(kept.read_text()).get("held", {}), kept.read_text)
        self.agent.kill()
        self.agent.start()


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage(tmp_path, request.param) as made:
        yield made


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stage", GOES, indirect=True)
def test_each_cell_of_the_table_is_what_the_venue_sees(stage: Stage) -> None:
    """Well, late, stalled, dead, left (keep and cancel), held; entries, exits, stops, an OCO pair, hedges, orders of
    unknown class, a human's; open ones, and those that still wait for a venue that was away.
    """
    stage.sandbox.admin.save()
    stage.sandbox.kill()
    for name in NAMES:
        stage.say(name, "queue")
    assert dict(stage.lines(len(NAMES))) == dict.fromkeys(NAMES, "queued")
    where = stage.agent.runtime_dir
    held = cli("bot", "hold", "held", "--for", "30m", "--why", "a breakpoint", runtime_dir=where)
    assert held.returncode == 0, held.stderr
    for name in ("silent", "held"):
        os.kill(stage.pids[name], signal.SIGSTOP)
    os.kill(stage.pids["dead"], signal.SIGKILL)
    stage.say("left", "keep")
    stage.say("leaving", "cancel")
    states = {"well": "well", "silent": "late", "dead": "dead", "left": "left", "leaving": "left", "held": "held"}
    stage.until_states(states)

    stage.sandbox.start()
    states["leaving"] = "leaving"
    stage.until_open(expected(stage.preset, states))
    if stage.preset == "directional":
        stage.restart_agent()
        stage.until_states({"silent": "late", "dead": "dead", "held": "held"})

    stage.arm("1s")
    states["silent"] = "stalled"
    stage.until_states({"silent": "stalled"})
    stage.until_open(expected(stage.preset, states))
    if stage.preset == "observe":
        stage.until(lambda: {"silent", "dead"} <= stage.told("would.cancel").keys(), lambda: "it would be told")
        would = {name: set(each["ids"]) for name, each in stage.told("would.cancel").items()}
        assert would == {"silent": {"silent-e", "silent-qe"}, "dead": {"dead-e"}}  # dead while nothing could be asked

    cancelled = {str(row["client_order_id"]) for row in stage.sandbox.admin.ledger(method="DELETE")}
    everything = {f"{name}-{end}" for name in NAMES for end in BOOK | QUEUED} | {"human"}
    sent = {str(row["client_order_id"]) for row in stage.sandbox.admin.ledger(method="POST")} & everything
    assert cancelled <= everything - expected(stage.preset, states), "nobody else's, nothing that protects"
    assert not {f"leaving-{end}" for end, kind in QUEUED.items() if kind in ASKED[stage.preset]} & sent

    for name in ("silent", "held"):
        os.kill(stage.pids[name], signal.SIGCONT)
    released = cli("bot", "release", "held", runtime_dir=where)
    assert released.returncode == 0, released.stderr
    stage.until_states({"silent": "well", "held": "well"})
    stage.until_open(expected(stage.preset, states) | {"silent-qe", "held-qe"})
    rows = [str(row["client_order_id"]) for row in stage.sandbox.admin.ledger(method="POST")]
    assert len(rows) == len(set(rows)), "nothing was sent twice"
