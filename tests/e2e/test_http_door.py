"""http.sock: clients without a jackstay package trade through it; it is no open proxy, and nonsense costs nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.http_clients import http_sock, raw, routed_all
from e2e_bot import KEY, RESOLVING, SECRET, order_params, quick_profiles, release, signed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess

NODE = """
const http = require('http'), crypto = require('crypto');
const [path, key, secret] = process.argv.slice(2);
const ask = (method, target, body) => new Promise((done, failed) => {
  const headers = {Host: 'api.binance.com', 'X-MBX-APIKEY': key, 'X-Jackstay-Bot': 'node'};
  if (body) headers['Content-Type'] = 'application/x-www-form-urlencoded';
  const request = http.request({socketPath: path, method, path: target, headers}, answer => {
    let text = ''; answer.on('data', piece => text += piece);
    answer.on('end', () => done({status: answer.statusCode, body: JSON.parse(text)}));
  });
  request.on('error', failed); request.end(body);
});
const signed = params => {
  const query = new URLSearchParams({...params, timestamp: Date.now(), recvWindow: 10000}).toString();
  return query + '&signature=' + crypto.createHmac('sha256', secret).update(query).digest('hex');
};
(async () => {
  const order = {symbol: 'BTCUSDT', side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', quantity: '0.001', price: '21000',
    newClientOrderId: 'node1'};
  const placed = await ask('POST', '/api/v3/order', signed(order));
  const one = signed({symbol: 'BTCUSDT', origClientOrderId: 'node1'});
  const found = await ask('GET', '/api/v3/order?' + one);
  const gone = await ask('DELETE', '/api/v3/order?' + signed({symbol: 'BTCUSDT', origClientOrderId: 'node1'}));
  console.log(JSON.stringify([placed.status, found.body.status, gone.body.status]));
})();
"""


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed_all(sandbox.url)) as running:
        yield running


def curl(agent: AgentProcess, *args: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of a plain curl."""
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "20", "--unix-socket", str(http_sock(agent)), *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    head, _, body = done.stdout.partition("\n\n")
    status, *lines = head.splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in fields.items()}, body


def order_body(client_id: str, **changes: Any) -> list[str]:
    return ["-H", f"X-MBX-APIKEY: {KEY}", "--data", signed(order_params(client_id) | changes)]


ORDER = "http://api.binance.com/api/v3/order"


# ---------------------------------------------------------------- stock clients


def test_curl_trades(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """A plain curl places an order once; the answer is the venue's, with the journal's number beside it."""
    status, headers, body = curl(agent, *order_body("curl1"), ORDER)
    assert (status, json.loads(body)["clientOrderId"]) == (200, "curl1")
    assert headers["x-jackstay-outcome"] == "ok"
    assert headers["x-jackstay-intent"].isdecimal()
    assert headers["content-type"].startswith("application/json"), "as the venue wrote it"
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_node_trades(sandbox: SandboxProcess, agent: AgentProcess, tmp_path: Path) -> None:
    """A Node.js script places, asks and cancels over the socket with its standard library alone."""
    script = tmp_path / "bot.js"
    script.write_text(NODE, encoding="utf-8")
    done = subprocess.run(
        ["node", str(script), str(http_sock(agent)), KEY, SECRET],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [200, "NEW", "CANCELED"]
    assert [bot for bot in agent.status()["http"]["bots"] if bot["bot"] == "node"]


def test_a_stock_aiohttp_session_trades_and_listens(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """True https and wss URLs over a UnixConnector: an order, a stream, and the venue's pong to the client's ping."""

    async def trade() -> tuple[int, str, bytes, str]:
        connector = aiohttp.UnixConnector(path=str(http_sock(agent)))
        async with aiohttp.ClientSession(connector=connector) as session:
            body = signed(order_params("aio1"))
            kind = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
            async with session.post("https://api.binance.com/api/v3/order", data=body, headers=kind) as answer:
                placed = answer.status, (await answer.json())["status"]
            url = "wss://stream.binance.com:9443/ws/btcusdt@trade"
            async with session.ws_connect(url, autoping=False, compress=15) as stream:
                await stream.ping(b"are you there")
                pong, event = b"", ""
                while not (pong and event):
                    message = await stream.receive(10)
                    if message.type is aiohttp.WSMsgType.PONG:
                        pong = message.data
                    elif message.type is aiohttp.WSMsgType.TEXT:
                        event = json.loads(message.data)["e"]
            return *placed, pong, event

    assert asyncio.run(trade()) == (200, "NEW", b"are you there", "trade")


# ---------------------------------------------------------------- no open proxy


def test_hosts_that_are_not_configured_are_refused(agent: AgentProcess) -> None:
    """Neither by Host, nor by an absolute URL, nor in the path, nor by an upgrade; nothing is dialled."""
    for args in (
        ["http://example.com/"],
        ["-H", "Host: example.com", "http://api.binance.com/"],
        ["http://jackstay/fwd/https://example.com/x"],
        ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "http://169.254.169.254/latest/meta-data"],
    ):
        status, headers, body = curl(agent, *args)
        assert (status, headers["x-jackstay-reason"]) == (422, "upstream_not_allowed"), args
        assert "no open proxy" in body
    assert "example.com" not in json.dumps(agent.status()["upstreams"])


def test_an_operator_may_allow_more_hosts(sandbox: SandboxProcess) -> None:
    """``[http] allow_hosts`` are patterns; what they do not name stays refused."""
    config = '[http]\nallow_hosts = ["*.example.org"]\n'
    with AgentProcess(config, name="more") as running:
        assert curl(running, "http://api.example.org/")[0] in (502, 504), "it is let through, and there is nothing"
        assert curl(running, "http://example.net/")[0] == 422


def test_connect_is_refused_because_it_hides_what_is_sent(agent: AgentProcess) -> None:
    """A tunnel of TLS could be neither read nor journaled: say what to do instead."""
    told = raw(http_sock(agent), b"CONNECT api.binance.com:443 HTTP/1.1\r\nHost: api.binance.com:443\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 422 ")
    assert b"plain request" in told


def test_the_url_may_stand_in_the_path(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """/fwd/https://HOST/PATH, for clients of which only URLs can be configured."""
    status, _headers, body = curl(agent, "http://localhost/fwd/https://api.binance.com/api/v3/time")
    assert (status, list(json.loads(body))) == (200, ["serverTime"])


def test_a_tcp_port_is_off_unless_asked_for_and_wants_its_token(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Without the token 422 for everything; with it, in a header or in the path, the same door."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = "a" * 32
    file = tmp_path / "token"
    file.write_text(token + "\n")
    file.chmod(0o600)
    config = routed_all(sandbox.url, f'[http]\nlisten = "127.0.0.1:{port}"\ntoken_file = "{file}"\n')

    def ask(*args: str) -> str:
        done = subprocess.run(["curl", "-sS", "-i", *args], capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    with AgentProcess(config, name="tcp"):
        to = ["--connect-to", f"::127.0.0.1:{port}", "http://api.binance.com/api/v3/time"]
        assert " 422 " in ask(*to)
        assert " 422 " in ask("-H", "X-Jackstay-Token: wrong", *to)
        assert " 422 " in ask(f"http://127.0.0.1:{port}/fwd/{'b' * 32}/https://api.binance.com/api/v3/time")
        assert "serverTime" in ask("-H", f"X-Jackstay-Token: {token}", *to)
        assert "serverTime" in ask(f"http://127.0.0.1:{port}/fwd/{token}/https://api.binance.com/api/v3/time")
    file.chmod(0o644)
    config_path = tmp_path / "agent.toml"
    config_path.write_text(config)
    told = cli("run", "leaky", "--config", str(config_path), "--runtime-dir", str(tmp_path))
    assert (told.returncode, "others can get at it" in told.stderr) == (1, True)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('listen = "0.0.0.0:1"\ntoken_file = "/t"', "loopback"),
        ('listen = "127.0.0.1:1"', "token_file"),
        ('token_file = "/t"', "without listen"),
        ('trade_socket = "maybe"', "refuse or pass"),
        ('listn = "x"', "did you mean"),
    ],
)
def test_a_bad_http_table_is_told_in_words(tmp_path: Path, table: str, words: str) -> None:
    """What was found and what is expected, by `config check`."""
    path = tmp_path / "bad.toml"
    path.write_text(f"[http]\n{table}\n")
    told = cli("config", "check", str(path))
    assert (told.returncode, words in told.stderr) == (1, True), told.stderr


# ---------------------------------------------------------------- the same rules


def test_an_order_without_an_answer_is_a_504_and_so_is_its_equal(sandbox: SandboxProcess) -> None:
    """Unknown is never a plain failure; the equal order waits for the first one's outcome as long as its caller does,
    and is not sent; the late truth is kept for the asking.
    """
    with AgentProcess(routed_all(sandbox.url), name="rules") as running:
        sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        status, headers, body = curl(running, *order_body("lost1", price="21500.00"), ORDER)
        assert (status, headers["x-jackstay-outcome"]) == (504, "unknown")
        assert "ask the venue" in body
        short = ("-H", "X-Jackstay-Deadline: 0.5")
        status, headers, _ = curl(running, *short, *order_body("lost2", price="21500.00"), ORDER)
        assert (status, headers["x-jackstay-reason"]) == (504, "equal_pending")
        assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1
        release(running)
        (told,) = json.loads(curl(running, "http://jackstay/outcomes")[2])["outcomes"]
        assert (told["outcome"], told["cause"]) == ("failed", "absent")
        assert json.loads(curl(running, "-X", "POST", f"http://jackstay/ack?ids={told['intent']}")[2]) == {
            "acknowledged": 1
        }
        assert json.loads(curl(running, "http://jackstay/outcomes")[2])["outcomes"] == []


def test_an_agent_with_a_key_finds_the_lost_order_in_time(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """The answer died, the order lives: the client of http.sock hears of it as the answer to its request."""
    config = quick_profiles(tmp_path / "venues") + routed_all(sandbox.url, RESOLVING)
    with AgentProcess(config, name="asks") as running:
        sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        status, headers, body = curl(running, *order_body("found1", price="21600.00"), ORDER)
        assert (status, headers["x-jackstay-outcome"]) == (200, "ok")
        assert "found1" in body


def test_no_answer_of_a_dead_venue_is_a_502(agent: AgentProcess, tmp_path: Path) -> None:
    """Provably nothing was sent: not 504."""
    with AgentProcess('[upstreams]\n"api.binance.com" = "http://127.0.0.1:9"\n', name="dead") as running:
        status, headers, _ = curl(running, *order_body("dead1"), ORDER)
        assert (status, headers["x-jackstay-outcome"]) == (502, "failed")


def test_a_bot_here_has_a_lease_only_if_it_beats(agent: AgentProcess) -> None:
    """Watched by its process; POST /beat with X-Jackstay-Within gives it a lease, and its end is an event."""
    curl(agent, "-H", "X-Jackstay-Bot: quiet", "http://api.binance.com/api/v3/time")
    by_name = {bot["bot"]: bot for bot in agent.status()["http"]["bots"]}
    assert by_name["quiet"]["state"] in ("watched by pid only", "gone")

    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(http_sock(agent)))
        line.sendall(
            b"POST /beat HTTP/1.1\r\nHost: jackstay\r\nX-Jackstay-Bot: beats\r\nX-Jackstay-Within: 0.1\r\n\r\n"
        )
        assert b'"lease_s":0.1' in line.recv(65536)
        for _ in range(200):
            told = agent.events("bot.late") + agent.events("bot.stalled")
            if [each for each in told if each["bot"] == "beats"]:
                return
            line.settimeout(0.05)
            with pytest.raises(TimeoutError):
                line.recv(1)
    raise AssertionError("the end of the lease was never told")


# ---------------------------------------------------------------- nonsense


def test_the_socket_is_its_owners_alone(agent: AgentProcess) -> None:
    """Mode 0600, as the other doors."""
    assert stat.S_IMODE(http_sock(agent).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: api.binance.com\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3000000, b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"422"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    ],
    ids=["no-http", "not-ascii", "url", "headers", "body", "no-host", "smuggling"],
)
def test_broken_requests_are_answered_and_forgotten(agent: AgentProcess, sent: bytes, status: bytes) -> None:
    """Each bound has its status; the agent serves the next client."""
    if status == b"422":
        assert raw(http_sock(agent), sent, until_closed=False).split()[1] == status
    else:
        assert raw(http_sock(agent), sent).split()[1] == status
    assert curl(agent, "http://api.binance.com/api/v3/time")[0] == 200


def test_tls_on_the_plain_socket_is_cut_and_told_in_an_event(agent: AgentProcess) -> None:
    """A client that insists on TLS hears nothing useful from us, so the operator does."""
    assert raw(http_sock(agent), bytes.fromhex("16030100") + b"x" * 100) == b""
    assert any("TLS" in each["what"] for each in agent.events("http.refused"))


def test_requests_on_one_connection_are_answered_in_order(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """Pipelined, the last one closing: as many answers, in their order."""
    one = b"GET /api/v3/ticker/price?symbol=%b HTTP/1.1\r\nHost: api.binance.com\r\n%b\r\n"
    names = [b"BTCUSDT", b"ETHUSDT"] * 4
    sent = b"".join(one % (name, b"Connection: close\r\n" if n == 7 else b"") for n, name in enumerate(names))
    told = raw(http_sock(agent), sent)
    assert told.count(b"HTTP/1.1 200 OK") == 8
    assert [piece[:7] for piece in told.split(b'"symbol":"')[1:]] == names


def test_a_client_that_leaves_drops_its_question_and_not_its_order(
    sandbox: SandboxProcess, agent: AgentProcess
) -> None:
    """What may have an effect is seen through for the record."""
    sandbox.admin.fault("latency", route="POST /api/v3/order", count=1, ms=300)
    body = signed(order_params("left1", price=22222.0)).encode()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(http_sock(agent)))
        head = b"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: %b\r\n" % KEY.encode()
        line.sendall(head + b"X-Jackstay-Bot: leaver\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        while not sandbox.admin.ledger(method="POST", path="/api/v3/order"):
            pass
    for _ in range(100):
        told = json.loads(curl(agent, "-H", "X-Jackstay-Bot: leaver", "http://jackstay/outcomes")[2])["outcomes"]
        if told and told[0]["outcome"] == "ok":
            break
    assert [(each["outcome"], each["status"]) for each in told] == [("ok", 200)]


def test_a_stop_ends_streams_orderly_and_refuses_what_comes(sandbox: SandboxProcess) -> None:
    """A client sees close 1001 and dials again elsewhere; the socket file goes with the agent."""

    async def listen(running: AgentProcess) -> tuple[Any, Any]:
        connector = aiohttp.UnixConnector(path=str(http_sock(running)))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect("wss://stream.binance.com:9443/ws/btcusdt@trade") as stream,
        ):
            await stream.receive(10)
            await asyncio.to_thread(running.stop)
            while (message := await stream.receive(10)).type is aiohttp.WSMsgType.TEXT:
                pass
            return message.type, message.data

    with AgentProcess(routed_all(sandbox.url), name="stops") as running:
        assert asyncio.run(listen(running)) == (aiohttp.WSMsgType.CLOSE, 1001)
        assert not http_sock(running).exists()
