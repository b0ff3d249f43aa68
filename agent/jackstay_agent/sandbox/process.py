"""The sandbox from outside: `SandboxProcess` starts and kills one, `SandboxAdmin` speaks to its administration.

Blocking and standard library only, so that any test or demo can use it.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

START_WITHIN_S = 20.0
STOP_WITHIN_S = 5.0
ANSWER_WITHIN_S = 30.0


class SandboxRefused(Exception):
    """The sandbox did not start, or its administration refused a request; the message says why."""


class SandboxAdmin:
    """The administration of a running sandbox at `url`. OSError when nobody answers."""

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._tls = parts.hostname or "127.0.0.1", parts.port, parts.scheme == "https"
        self._ca_file = ca_file

    def request(self, method: str, path: str, value: Any = None) -> Any:
        """One administration request; its JSON answer. SandboxRefused for anything but a 200."""
        connection = self._connection()
        try:
            body = None if value is None else json.dumps(value).encode()
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = json.loads(answer.read() or b"null")
        finally:
            connection.close()
        if answer.status != 200:
            raise SandboxRefused(told.get("error", f"status {answer.status}") if isinstance(told, dict) else str(told))
        return told

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_WITHIN_S)
        import ssl

        context = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(self._host, self._port, timeout=ANSWER_WITHIN_S, context=context)

    def fault(
        self, kind: str, *, route: str | None = None, probability: float = 1.0, count: int | None = None, **params: Any
    ) -> str:
        """Arm a fault; returns its id. `route` is "METHOD /path" (exact; `*` or `/` at the end: all that begin so)
        or the beginning of a path. `count`: how often it strikes, None for ever. `symbol` and `connection` narrow."""
        asked = {"kind": kind, "route": route, "probability": probability, "count": count, **params}
        return str(self.request("POST", "/admin/faults", asked)["id"])

    def strike(self, kind: str, **params: Any) -> int:
        """A fault that happens once, now (stream_reset, stream_half_open, server_shutdown, switches_fire); returns how
        many connections or switches it struck."""
        return int(self.request("POST", "/admin/faults", {"kind": kind, **params})["struck"])

    def mode(self, mode: str, *, market: str = "", symbol: str = "", for_s: float = 0.0) -> None:
        """online, post_only, limit_only, cancel_only or maintenance: of every market or one (spot, usdm, kraken), or of
        one symbol; for good, or for so many seconds."""
        asked = {"mode": mode, "market": market, "symbol": symbol, "for_s": for_s}
        self.request("POST", "/admin/mode", asked)

    def hours(self, symbol: str, hours: str = "", days: str = "", *, market: str = "") -> bool:
        """Opening hours of a symbol in UTC ("09:30-16:00", "mon-fri"); always open without. Is it open now?"""
        asked = {"symbol": symbol, "hours": hours, "days": days, "market": market}
        return bool(self.request("POST", "/admin/hours", asked)["open"])

    def sockets(self, door: str = "", **rules: float) -> dict[str, dict[str, float]]:
        """How long Binance's connections live, in seconds: ping_every_s, pong_within_s, lifetime_s, messages_per_s (0
        is never), of one door (spot, api, usdm) or all; and listen_key_s. Returns the rules of every door."""
        return dict(self.request("POST", "/admin/sockets", {"door": door, **rules}))

    def clock(self, offset_ms: int) -> None:
        """The venue's clock goes wrong by this much."""
        self.request("POST", "/admin/clock", {"offset_ms": offset_ms})

    def fill(self, order_id: int, quantity: str | None = None, *, market: str = "spot") -> dict[str, str]:
        """The background market takes this much (all that is left when None) of a resting order, at its price."""
        return dict(self.request("POST", "/admin/fill", {"order_id": order_id, "quantity": quantity, "market": market}))

    def stream_ledger(self, **filters: Any) -> list[dict[str, Any]]:
        """The latest stream messages; filters: stream (beginning of its name), connection, fault (a kind, or `*` for
        any), since (sequence number), limit."""
        query = urlencode({name: value for name, value in filters.items() if value})
        return list(self.request("GET", f"/admin/stream-ledger?{query}"))

    def clear(self, id: str | None = None) -> None:
        """Disarm one fault, or all of them."""
        self.request("DELETE", f"/admin/faults/{id}" if id else "/admin/faults")

    def faults(self) -> list[dict[str, Any]]:
        """The armed faults, with how often each struck."""
        return list(self.request("GET", "/admin/faults"))

    def ledger(self, **filters: Any) -> list[dict[str, Any]]:
        """Rows in order of receipt; filters: since (sequence number), path, method, client_order_id."""
        query = urlencode({name: value for name, value in filters.items() if value})
        return list(self.request("GET", f"/admin/ledger?{query}"))

    def checks(self) -> dict[str, list[dict[str, Any]]]:
        """Verdicts over the ledger by name; an empty list means nothing was found."""
        return dict(self.request("GET", "/admin/checks"))

    def orders(self, market: str = "spot") -> list[dict[str, Any]]:
        """Every order of every account, as the venue shows them; `market` is spot, usdm or kraken."""
        return list(self.request("GET", f"/admin/orders?market={market}"))

    def positions(self) -> dict[str, list[dict[str, Any]]]:
        """Open futures positions by account."""
        return dict(self.request("GET", "/admin/positions"))

    def balances(self, market: str = "spot") -> dict[str, dict[str, dict[str, str]]]:
        """account -> asset -> {"free", "locked"}, amounts as strings; `market` is spot or kraken."""
        return dict(self.request("GET", f"/admin/balances?market={market}"))

    def status(self) -> dict[str, Any]:
        return dict(self.request("GET", "/admin/status"))

    def seq_rate(self, per_second: float) -> None:
        """How fast the counting streams `<symbol>@seq` count."""
        self.request("POST", "/admin/streams", {"seq_rate": per_second})

    def price(self, symbol: str, price: str) -> None:
        """Move the market: the background market quotes around this price at once."""
        self.request("POST", "/admin/market", {"symbol": symbol, "price": price})

    def save(self) -> None:
        self.request("POST", "/admin/state/save")

    def mark(self, name: str) -> int:
        """Set a mark in the ledger (`gate`, `open`, or any name); returns its sequence number."""
        return int(self.request("POST", "/admin/mark", {"name": name})["seq"])

    def reset(self) -> None:
        """Orders, balances, faults, ledger and counters as on the first day."""
        self.request("POST", "/admin/reset")


class SandboxProcess:
    """A sandbox in its own process, on a free port unless given one. Use as a context manager or start and stop it."""

    def __init__(
        self,
        seed: int = 1,
        port: int = 0,
        state: Path | str | None = None,
        quiet: bool = False,
        weights: bool = False,
        extra_args: tuple[str, ...] = (),
    ) -> None:
        self.port = port
        self.state = Path(state) if state is not None else None
        self._arguments = ["--seed", str(seed), *(["--quiet"] if quiet else []), *([] if weights else ["--no-weights"])]
        self._extra = list(extra_args)
        self._process: subprocess.Popen[str] | None = None
        self.url = self.ws_url = self.ca_file = ""

    def start(self) -> SandboxProcess:
        """Start it and wait until it listens. SandboxRefused when it does not."""
        state = ["--state", str(self.state)] if self.state is not None else []
        command = [sys.executable, "-m", "jackstay_agent.sandbox", "--port", str(self.port), *self._arguments, *state]
        self._process = subprocess.Popen([*command, *self._extra], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxRefused(f"the sandbox ended with code {self._process.wait(START_WITHIN_S)} before it listened")
        ready = json.loads(line)
        self.port, self.url, self.ws_url = ready["port"], ready["url"], ready["ws_url"]
        self.ca_file = ready.get("ca_file", "")
        return self

    @property
    def pid(self) -> int:
        if self._process is None:
            raise SandboxRefused("the sandbox is not running: start it first")
        return self._process.pid

    @property
    def admin(self) -> SandboxAdmin:
        return SandboxAdmin(self.url, ca_file=self.ca_file or None)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and wait; returns its exit code. Nothing happens when it is not running."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Kill it at once, as a crash would."""
        return self._end(signal.SIGKILL)

    def restart(self, keep_state: bool = True) -> None:
        """Kill it and start it again on the same port; without `keep_state` its files are removed first."""
        self.kill()
        if not keep_state and self.state is not None:
            # the markets beside the first keep files of their own
            for suffix in ("", ".usdm", ".kraken"):
                self.state.with_suffix(self.state.suffix + suffix).unlink(missing_ok=True)
        self.start()

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code

    def __enter__(self) -> SandboxProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
