"""`make soak`: runs it, samples the agent, judges it, and prints graphs; exit code 1 on any violation.

Everything is a process of its own: the venue (the sandbox), the prices (`prices.py`), the bot (`bot.py`, killed and
started again now and then), a second reader of the feed (stopped now and then), and the agent, which lives through all
of it: its own death is the kill tests' work (tests/e2e/test_kills.py), here it must not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import psutil

import jackstay
from e2e_bot import quick_profiles
from harness import AgentProcess, child_env
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import TradingBotError

from .bot import PACE_S
from .graphs import by_minute, graph, slope
from .judge import Ledger, lines, told_twice, violations
from .weather import Weather

TESTS = Path(__file__).resolve().parents[1]
SAMPLE_S = 5.0
SPELL_S = 10.0
LEDGER_S = 15.0
BOT_LIFE_S = (90.0, 180.0)
STOPPED_S = 3.0
STOP_EVERY_S = 45.0
SLOPE_MB_H_MAX = 0.1
FDS_SPREAD_MAX = 48  # a pool breathes between 1 and 32 connections, feeds and streams redial; a leak is a slope
FDS_SLOPE_H_MAX = 1.0  # of each minute's most: a pool's is bounded, so only a leak lifts it; medians breathe by 30
CONTROL_S_MAX = 3.0  # of one answer on a machine that others use too; the graph shows all
DRAIN_S = 120.0
#: The latest the slope may begin: the bounded memories are full then (keys of ten minutes, rings of the analytics).
WARM_S_MAX = 1200.0
#: Shares of the warm-up. The last is over ten minutes before the slope begins: the keys it left are forgotten then.
STORMS_AT = (0.0, 0.09, 0.18, 0.27, 0.36, 0.44)
STORM_RATE = 2.0  # times the rate asked for, in a bot's lives that begin before the last storm

READER = """
import sys
from jackstay import Client
client = Client(sys.argv[1], runtime_dir=sys.argv[2], kind="reader", bot_id="slow")
while True:
    for item in client.subscribe("sim", ["s0@trade"], timeout_s=60):
        pass
"""


def agent_config(folder: Path, venue_url: str, feed_url: str, more: str) -> str:
    """Shipped defaults but for the budgets (no real account has this many orders a second) and a patient window."""
    profiles = quick_profiles(folder / "profiles")
    profile = folder / "profiles" / "binance.toml"
    # a signature may be two seconds old: a busy machine stops any process for half a second now and then
    profile.write_text(profile.read_text().replace("recv_window_ms = 500", "recv_window_ms = 2000"))
    return f"""{profiles}
[upstreams]
"api.binance.com" = "{venue_url}"
"ws-api.binance.com" = "{venue_url}"
"ws-api.binance.com:443" = "{venue_url}"

[venues.binance]
live = false
limits = {{ orders_10s = 0, weight_1m = 0 }}
[venues.binance.keys]
env = "SANDBOX"

[queue]
flush_per_s = 200

[feeds.sim]
url = "{feed_url}"
dialect = "binance"
subscribes_per_s = 0
lifetime_s = 300
settle_s = 2
redundant = true
dials_max = 0
backoff_min_s = 0.05
healthy_s = 0.1
{more}"""


class Soak:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.said = folder / "said"
        self.said.mkdir()
        self.samples: list[dict[str, float]] = []
        self.wrong: list[str] = []
        self.bot: subprocess.Popen[bytes] | None = None
        self.life = 0
        self.storms: list[float] = []  # that are to come
        self.bot_kills = 0
        self.chance = Random(options.seed)

    # ------------------------------------------------------------ the others

    def start_prices(self) -> subprocess.Popen[bytes]:
        port_file = self.folder / "prices.url"
        prices = self._python(
            "-m", "soak.prices", str(port_file), "t", str(self.folder / "run"), str(self.options.feed),
            str(self.options.cut_s), str(self.said / "prices"), stdin=subprocess.PIPE,
        )  # fmt: skip
        until = time.monotonic() + 20
        while not (port_file.exists() and port_file.read_text()):
            if prices.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the price exchange did not start")
            time.sleep(0.05)
        self.feed_url = port_file.read_text()
        return prices

    def start_bot(self) -> None:
        self.life += 1
        path = self.said / f"life-{self.life:05}"
        path.write_text("life\n", encoding="ascii")
        rate = self.options.rate * (STORM_RATE if self.storms else 1.0)
        self.bot = self._python("-m", "soak.bot", "t", str(self.folder / "run"), str(self.life), str(rate), str(path))

    def kill_bot(self) -> None:
        if self.bot is not None:
            if self.bot.poll() is not None:
                self.wrong.append(f"the bot of life {self.life} ended by itself, code {self.bot.returncode}")
            self.bot.kill()
            self.bot.wait()

    def _python(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        env = child_env()
        env["PYTHONPATH"] = os.pathsep.join((str(TESTS), env["PYTHONPATH"]))
        with (self.folder / "children.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *arguments], env=env, stderr=log, **more)

    # ------------------------------------------------------------ what is seen

    def sample(self, agent: AgentProcess, at: float) -> None:
        process = psutil.Process(agent.pid)
        memory = process.memory_full_info()
        began = time.monotonic()
        try:
            status = ask(agent.runtime_dir / "t" / "control.sock", "status", timeout_s=5.0)
        except TradingBotError as error:
            self.wrong.append(f"control.sock at {at:.0f} s: {error}")
            return
        took_s = time.monotonic() - began
        if took_s > CONTROL_S_MAX:
            self.wrong.append(f"control.sock answered in {took_s:.2f} s at {at:.0f} s")
        state = agent.runtime_dir / "t"
        times = process.cpu_times()
        self.samples.append(
            {
                "at": at,
                "rss_mb": memory.rss / 1e6,
                "uss_mb": memory.uss / 1e6,
                "fds": process.num_fds(),
                "threads": process.num_threads(),
                "cpu_s": times.user + times.system,
                "control_ms": took_s * 1000,
                "lag_worst_s": status["loop_lag_worst_s"],
                "in_flight": status["in_flight"],
                "requests": status["requests"]["requests"],
                "events": status["events_total"],
                "outbox_mb": sum(path.stat().st_size for path in state.rglob("outbox.sqlite*")) / 1e6,
            }
        )
        with (self.folder / "samples.jsonl").open("a", encoding="ascii") as out:
            out.write(json.dumps(self.samples[-1]) + "\n")

    # ------------------------------------------------------------ the run

    def run(self) -> int:
        (self.folder / "run").mkdir()
        with SandboxProcess(seed=self.options.seed, quiet=True) as venue:
            prices = self.start_prices()
            children = [prices]
            try:
                config = agent_config(self.folder, venue.url, self.feed_url, self.options.config)
                with AgentProcess(config, runtime_dir=self.folder / "run") as agent:
                    assert prices.stdin is not None
                    prices.stdin.write(b"\n")
                    prices.stdin.flush()
                    slow = self._python("-c", READER, "t", str(self.folder / "run"))
                    children.append(slow)
                    weather, ledger = Weather(venue, self.options.seed), Ledger(venue)
                    took_s = self._hours(agent, prices, slow, weather, ledger)
                    self.kill_bot()
                    weather.calm()
                    late = self._drain(agent)
                    ledger.read(to_the_end=True)
                    checks = venue.admin.checks()
                    children_end(children)
                    return self.report(took_s, weather, ledger, late, checks)
            finally:
                children_end(children)
                if self.bot is not None and self.bot.poll() is None:
                    self.bot.kill()
                    self.bot.wait()

    def _hours(
        self,
        agent: AgentProcess,
        prices: subprocess.Popen[bytes],
        slow: subprocess.Popen[bytes],
        weather: Weather,
        ledger: Ledger,
    ) -> float:
        began = time.monotonic()
        ends_at = began + self.options.hours * 3600
        due = {"sample": began, "spell": began, "ledger": began + LEDGER_S, "stop": began + STOP_EVERY_S,
               "kill": began + self.chance.uniform(*BOT_LIFE_S)}  # fmt: skip
        self.storms = [began + self._warm_s(self.options.hours * 3600) * share for share in STORMS_AT]
        self.start_bot()
        continue_at = 0.0
        while (now := time.monotonic()) < ends_at:
            if agent.process is None or agent.process.poll() is not None:
                raise RuntimeError(f"the agent ended:\n{agent.log()[-3000:]}")
            if prices.poll() is not None:
                raise RuntimeError("the price exchange ended")
            if now >= due["sample"]:
                self.sample(agent, now - began)
                due["sample"] += SAMPLE_S
                if len(self.samples) % 60 == 1:
                    last = self.samples[-1]
                    print(f"{last['at'] / 60:5.1f} min: RSS {last['rss_mb']:.2f} MB, {last['fds']:.0f} fds,"
                          f" {last['requests']:.0f} requests, {len(self.wrong)} wrong", flush=True)  # fmt: skip
            if self.storms and now >= self.storms[0]:
                self.storms.pop(0)
                weather.storm()
            if now >= due["spell"]:
                weather.change()
                due["spell"] += SPELL_S
            if now >= due["ledger"]:
                ledger.read()
                due["ledger"] += LEDGER_S
            if now >= due["kill"]:
                self.kill_bot()
                self.bot_kills += 1
                self.start_bot()
                due["kill"] = now + self.chance.uniform(*BOT_LIFE_S)
            if now >= due["stop"]:
                slow.send_signal(signal.SIGSTOP)
                continue_at, due["stop"] = now + STOPPED_S, now + STOP_EVERY_S
            if continue_at and now >= continue_at:
                slow.send_signal(signal.SIGCONT)
                continue_at = 0.0
            time.sleep(0.1)
        slow.send_signal(signal.SIGCONT)
        return time.monotonic() - began

    @staticmethod
    def _warm_s(took_s: float) -> float:
        return min(WARM_S_MAX, took_s / 3)

    def _drain(self, agent: AgentProcess) -> dict[str, str]:
        """Everything open is settled and every outcome collected, or that is a violation."""
        late: dict[str, str] = {}
        with jackstay.Client("t", runtime_dir=agent.runtime_dir, bot_id="soak", connect_timeout_s=30.0) as client:
            until = time.monotonic() + DRAIN_S
            while True:
                late |= {news.id: str(news.outcome) for news in client.outcomes(0.5)}
                client.status()
                queue = agent.status()["queue"]
                if not sum(queue["open"].values()) and not sum(queue["uncollected"].values()):
                    return late
                if time.monotonic() > until:
                    self.wrong.append(f"not settled {DRAIN_S:g} s after the last fault: {queue}")
                    return late

    # ------------------------------------------------------------ the end

    def report(
        self, took_s: float, weather: Weather, ledger: Ledger, late: dict[str, str], checks: dict[str, list[Any]]
    ) -> int:
        said, prices = lines(self.said, "life-*"), lines(self.said, "prices")
        self.wrong += violations(ledger, said, late)
        self.wrong += [" ".join(words) for words in prices if words[0] == "wrong"]
        self.wrong += [f"ledger check {name}: {rows[:3]}" for name, rows in checks.items() if rows]
        if twice := told_twice(said):
            self.wrong.append(f"{twice} outcomes told twice in one life")
        pace, flow = _paces(said), _paces(prices)
        warm_s = self._warm_s(took_s)
        warm = [each for each in self.samples if each["at"] >= warm_s] or self.samples
        rss = by_minute([(each["at"], each["rss_mb"]) for each in warm])
        fds = [(each["at"], each["fds"]) for each in warm]
        rss_mb_h = slope(rss) * 3600
        uss_mb_h = slope(by_minute([(each["at"], each["uss_mb"]) for each in warm])) * 3600
        fds_h = slope(by_minute(fds, max)) * 3600
        self._graphs(pace, flow)
        counts = {kind: sum(words[0] == kind for words in said) for kind in ("intends", "told", "accepted", "unknown")}
        requests = self.samples[-1]["requests"] - self.samples[0]["requests"]
        span_s = max(self.samples[-1]["at"] - self.samples[0]["at"], 1.0)
        cpu = (self.samples[-1]["cpu_s"] - self.samples[0]["cpu_s"]) / span_s
        received, flow_s = sum(each[0] for each in flow), max(len(flow) * PACE_S, 1.0)
        print(f"\n{took_s / 3600:.2f} h: {requests:.0f} requests ({requests / span_s:.0f}/s), {received:.0f} feed"
              f" messages ({received / flow_s:.0f}/s), agent CPU {cpu * 100:.0f} % of a core")  # fmt: skip
        print(f"orders: {counts}; {len(ledger.received)} received, {sum(map(bool, ledger.executed.values()))} executed;"
              f" {ledger.rows} rows of the ledger judged")  # fmt: skip
        print(f"faults: {sum(weather.struck.values())} struck {dict(weather.struck.most_common())};"
              f" spells {dict(weather.spells.most_common())}; {self.bot_kills} kills of the bot")  # fmt: skip
        print(f"after {warm_s / 60:.0f} min of warm-up: RSS slope {rss_mb_h:+.3f} MB/h (USS {uss_mb_h:+.3f}),"
              f" RSS {rss[0][1]:.2f} -> {rss[-1][1]:.2f} MB; fds {min(fd for _, fd in fds):.0f} to"
              f" {max(fd for _, fd in fds):.0f}, slope {fds_h:+.2f}/h")  # fmt: skip
        if took_s >= 2 * WARM_S_MAX and rss_mb_h > self.options.slope:
            self.wrong.append(f"RSS grows by {rss_mb_h:.3f} MB/h, at most {self.options.slope:g} is expected")
        if fds_h > FDS_SLOPE_H_MAX and took_s >= 2 * WARM_S_MAX:
            self.wrong.append(f"fds grow by {fds_h:.2f}/h")
        if max(fd for _, fd in fds) - min(fd for _, fd in fds) > FDS_SPREAD_MAX:
            self.wrong.append(f"fds from {min(fd for _, fd in fds):.0f} to {max(fd for _, fd in fds):.0f}")
        print(f"{len(self.wrong)} violations")
        for each in self.wrong[:40]:
            print(f"  {each[:300]}")
        return 1 if self.wrong else 0

    def _graphs(self, pace: list[list[float]], flow: list[list[float]]) -> None:
        def over(key: str) -> list[tuple[float, float]]:
            return [(each["at"], each[key]) for each in self.samples]

        def column(rows: list[list[float]], index: int) -> list[tuple[float, float]]:
            return [(number * PACE_S, row[index]) for number, row in enumerate(rows)]

        drift = [(at, late_s * 1000) for at, late_s in over("lag_worst_s")]
        print()
        for text in (
            graph("leak: resident memory", "MB", over("rss_mb")),
            graph("fds: open descriptors", "", over("fds")),
            graph("drift: the agent's own tick, worst so far", "ms late", drift),
            graph("drift: requests done by the bot in 5 s", "", column(pace, 1)),
            graph("latency: requests, p50", "ms", column(pace, 2)),
            graph("latency: requests, p99 (faults included)", "ms", column(pace, 3)),
            graph("latency: feed, exchange socket to bot, p99", "ms", column(flow, 3)),
            graph("latency: control.sock", "ms", over("control_ms")),
            graph("disk: the outbox and its log", "MB", over("outbox_mb")),
        ):
            print(text, end="\n\n")


def _paces(said: list[list[str]]) -> list[list[float]]:
    return [[float(each) for each in words[1:]] for words in said if words[0] == "pace"]


def children_end(children: list[subprocess.Popen[bytes]]) -> None:
    for each in children:
        if each.poll() is None:
            each.kill()
            each.wait()
        if each.stdin is not None:
            each.stdin.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, offered whatever comes of them")
    parser.add_argument("--feed", type=float, default=5000.0, help="feed messages a second")
    parser.add_argument("--cut-s", type=float, default=5.0, help="one of the feed's two lines is cut about so often")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--slope", type=float, default=SLOPE_MB_H_MAX, help="MB/h that RSS may grow after warm-up")
    parser.add_argument("--config", default="", help="more TOML for the agent")
    parser.add_argument("--keep", type=Path, help="copy what was said and sampled into this folder")
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.hours:g} h, {options.rate:g} requests/s, {options.feed:g} feed messages/s",
          flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="js-") as name:
        try:
            return Soak(options, Path(name)).run()
        finally:
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                for path in (*Path(name).glob("*.jsonl"), *Path(name).glob("*.log"), *Path(name).glob("run/*.log")):
                    shutil.copy(path, options.keep)
                shutil.copytree(Path(name) / "said", options.keep / "said", dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
