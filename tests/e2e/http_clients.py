"""What http.sock tests share: an agent that knows the sandbox under its true names, and a raw client."""

from __future__ import annotations

import socket
from pathlib import Path

from harness import AgentProcess

#: Every name the stock clients of these tests dial, all of them the one port of the sandbox.
HOSTS = (
    *("api.binance.com", "ws-api.binance.com", "stream.binance.com"),
    *("fapi.binance.com", "dapi.binance.com", "ws-fapi.binance.com", "fstream.binance.com"),
    *("api.bybit.com", "stream.bybit.com", "www.okx.com", "ws.okx.com"),
    *("api.kraken.com", "ws.kraken.com", "ws-auth.kraken.com"),
)


def routed_all(url: str, extra: str = "") -> str:
    return "[upstreams]\n" + "".join(f'"{host}" = "{url}"\n' for host in HOSTS) + extra


def http_sock(agent: AgentProcess) -> Path:
    return agent.runtime_dir / agent.name / "http.sock"


def raw(path: Path, sent: bytes, *, until_closed: bool = True) -> bytes:
    """Bytes in, bytes out, over a plain unix socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(path))
        line.sendall(sent)
        heard = b""
        while True:
            try:
                piece = line.recv(65536)
            except ConnectionResetError:
                return heard
            if not piece:
                return heard
            heard += piece
            if not until_closed and heard.endswith(b"\n"):
                return heard
