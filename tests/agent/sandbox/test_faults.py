"""Each fault as a plain client sees it, and the trace it leaves in the ledger."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from jackstay_agent.sandbox.faces.meanings import MEANINGS
from jackstay_agent.sandbox.faults import DISTRIBUTIONS, KINDS, FaultBox
from sandbox_client import Plain, limit_order, read_until_end

ORDER = "POST /api/v3/order"


def strike(
    sandbox: SandboxProcess, kind: str, *, timeout_s: float = 5.0, answered: bool = False, **params: object
) -> tuple[bytes, str, dict[str, object]]:
    """Arm the fault once, send one order: what came back, how it ended, and the ledger's row.

    ``answered``: its silence begins with the answer.
    """
    sandbox.admin.fault(kind, route=ORDER, count=1, **params)
    plain = Plain(sandbox)
    with plain.dial(timeout_s) as sock:
        sock.sendall(plain.raw_order("struck"))
        if answered:
            sock.settimeout(5.0)
            sock.recv(1, socket.MSG_PEEK)
            sock.settimeout(timeout_s)
        data, end = read_until_end(sock)
    (row,) = sandbox.admin.ledger(path="/api/v3/order", client_order_id="struck")
    return data, end, row


def test_reset_before(sandbox: SandboxProcess) -> None:
    """The connection is reset and the order was never executed."""
    data, end, row = strike(sandbox, "reset_before")
    assert (data, end) == (b"", "reset")
    assert (row["fault"], row["status"], row["executed"]) == ("reset_before", "reset", False)
    assert sandbox.admin.orders() == []


def test_reset_after(sandbox: SandboxProcess) -> None:
    """The connection is reset without a byte of answer although the order was executed."""
    data, end, row = strike(sandbox, "reset_after")
    assert (data, end) == (b"", "reset")
    assert (row["fault"], row["status"], row["executed"]) == ("reset_after", "reset", True)
    assert [order["orderId"] for order in sandbox.admin.orders()] == [row["order_id"]]


def test_drop_reply(sandbox: SandboxProcess) -> None:
    """The order is executed, nothing is answered and the connection stays open."""
    data, end, row = strike(sandbox, "drop_reply", timeout_s=0.3)
    assert (data, end) == (b"", "silent")
    assert (row["fault"], row["status"], row["executed"]) == ("drop_reply", "none", True)


def test_stall(sandbox: SandboxProcess) -> None:
    """The order is neither executed nor answered and the connection stays open."""
    data, end, row = strike(sandbox, "stall", timeout_s=0.3)
    assert (data, end) == (b"", "silent")
    assert (row["fault"], row["status"], row["executed"]) == ("stall", "none", False)
    assert sandbox.admin.orders() == []


def test_answer_is_verbatim(sandbox: SandboxProcess) -> None:
    """Status line, header capitalisation and body are sent exactly as given."""
    data, _, row = strike(
        sandbox,
        "answer",
        timeout_s=0.3,
        status=503,
        reason="Nope",
        headers=[["x-LOWER-Upper", "1"], ["Retry-After", "7"]],
        body="<html>",
    )
    assert data == b"HTTP/1.1 503 Nope\r\nx-LOWER-Upper: 1\r\nRetry-After: 7\r\nContent-Length: 6\r\n\r\n<html>"
    assert (row["fault"], row["status"], row["executed"]) == ("answer", 503, False)


def test_answer_may_execute(sandbox: SandboxProcess) -> None:
    """An answer fault with execute says 504 although the order went through."""
    data, _, row = strike(sandbox, "answer", timeout_s=0.3, status=504, body="", execute=True)
    assert data.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert (row["fault"], row["status"], row["executed"]) == ("answer", 504, True)


def test_truncate(sandbox: SandboxProcess) -> None:
    """The body is shorter than its Content-Length and the connection closes."""
    data, end, row = strike(sandbox, "truncate", missing_bytes=20)
    head, _, body = data.partition(b"\r\n\r\n")
    promised = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split()[1])
    assert (promised - len(body), end) == (20, "closed")
    assert (row["fault"], row["status"], row["executed"]) == ("truncate", 200, True)


def test_drip(sandbox: SandboxProcess) -> None:
    """The whole answer arrives byte by byte."""
    began = time.monotonic()
    data, end, row = strike(sandbox, "drip", delay_ms=1)
    assert json.loads(data.partition(b"\r\n\r\n")[2])["clientOrderId"] == "struck"
    assert end == "closed"
    assert time.monotonic() - began >= len(data) * 0.0005
    assert (row["fault"], row["status"], row["executed"]) == ("drip", 200, True)


@pytest.mark.parametrize(("kind", "sign"), [("endless_headers", b"X-Header-999: "), ("endless_body", b"x" * 200_000)])
def test_endless(sandbox: SandboxProcess, kind: str, sign: bytes) -> None:
    """Headers or body go on for as long as somebody reads."""
    sandbox.admin.fault(kind, route=ORDER, count=1)
    plain = Plain(sandbox)
    data = b""
    with plain.dial() as sock:
        sock.sendall(plain.raw_order("struck"))
        while sign not in data.replace(b"\r\n10000\r\n", b""):
            data += sock.recv(65536)
    (row,) = sandbox.admin.ledger(client_order_id="struck")
    assert row["fault"] == kind


def test_oversize(sandbox: SandboxProcess) -> None:
    """The body has exactly the size asked for."""
    data, end, row = strike(sandbox, "oversize", bytes=3_000_000)
    assert (len(data.partition(b"\r\n\r\n")[2]), end) == (3_000_000, "closed")
    assert (row["fault"], row["status"], row["executed"]) == ("oversize", 200, True)


def test_latency(sandbox: SandboxProcess) -> None:
    """The answer is as usual, only later."""
    sandbox.admin.fault("latency", route="/api/v3/time", ms=150)
    began = time.monotonic()
    assert "serverTime" in Plain(sandbox).public("/api/v3/time")
    assert time.monotonic() - began >= 0.145  # a loop's clock counts whole milliseconds
    assert sandbox.admin.ledger(path="/api/v3/time")[0]["fault"] == "latency"


def test_latency_distributions() -> None:
    """At least `ms`; on top up to the jitter evenly, or around it with a long tail; the same seed draws the same."""

    def drawn(distribution: str, seed: int = 1) -> list[float]:
        box = FaultBox(seed)
        box.arm({"kind": "latency", "ms": 100, "jitter_ms": 50, "distribution": distribution}, 0)
        return sorted(box.delay_ms("GET", "/", "", 1)[0] - 100 for _ in range(2000))

    uniform, exponential, lognormal = (drawn(each) for each in DISTRIBUTIONS)
    assert (uniform[0] >= 0, uniform[-1] <= 50, 20 < uniform[1000] < 30) == (True, True, True)
    assert 45 < sum(exponential) / 2000 < 55
    assert exponential[-1] > 250
    assert 45 < lognormal[1000] < 55  # the median
    assert lognormal[-1] > 500
    assert drawn("lognormal") == lognormal != drawn("lognormal", seed=2)


def test_latency_with_a_tail(sandbox: SandboxProcess) -> None:
    """From outside: answers come later, and not all equally late."""
    sandbox.admin.fault("latency", route="/api/v3/time", ms=5, jitter_ms=20, distribution="exponential")
    plain, took = Plain(sandbox), []
    for _ in range(20):
        began = time.monotonic()
        assert plain.send("GET", "/api/v3/time")[0] == 200
        took.append(time.monotonic() - began)
    assert min(took) >= 0.004
    assert max(took) - min(took) > 0.01


def test_latency_outlives_the_client(sandbox: SandboxProcess) -> None:
    """A delayed order is executed although its sender has hung up."""
    sandbox.admin.fault("latency", route=ORDER, ms=200)
    plain = Plain(sandbox)
    with plain.dial() as sock:
        sock.sendall(plain.raw_order("late"))
        while not sandbox.admin.ledger(client_order_id="late"):
            pass
    deadline = time.monotonic() + 5
    while not (row := sandbox.admin.ledger(client_order_id="late")[0])["executed"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (row["executed"], row["status"]) == (True, "none")


def test_rate_limit_and_ban(sandbox: SandboxProcess) -> None:
    """429 with Retry-After first, 418 for whoever comes again, and then for every other path too."""
    sandbox.admin.fault("rate_limit", route="/api/v3/time", duration_s=30, ban=True, ban_s=60)
    plain = Plain(sandbox)
    status, told, headers = plain.send("GET", "/api/v3/time")
    assert (status, told["code"], headers["Retry-After"]) == (429, -1003, "30")
    status, _, headers = plain.send("GET", "/api/v3/time")
    assert (status, headers["Retry-After"]) == (418, "60")
    assert plain.send("GET", "/api/v3/ping")[0] == 418
    struck = [(row["fault"], row["status"]) for row in sandbox.admin.ledger()]
    assert struck == [("rate_limit", 429), ("rate_limit", 418), ("", 418)]


def test_rate_limit_ends(sandbox: SandboxProcess) -> None:
    """After its time the rate limit is gone."""
    sandbox.admin.fault("rate_limit", duration_s=0.2)
    plain = Plain(sandbox)
    assert plain.send("GET", "/api/v3/ping")[0] == 429
    deadline = time.monotonic() + 5
    while plain.send("GET", "/api/v3/ping")[0] == 429:
        assert time.monotonic() < deadline
    assert sandbox.admin.faults() == []


def test_route_count_and_probability(sandbox: SandboxProcess) -> None:
    """A fault strikes only its route, as often as told, and with its probability."""
    sandbox.admin.fault("answer", route="GET /api/v3/time", count=2, status=500)
    plain = Plain(sandbox)
    assert plain.send("GET", "/api/v3/ping")[0] == 200
    assert [plain.send("GET", "/api/v3/time")[0] for _ in range(3)] == [500, 500, 200]
    sandbox.admin.fault("answer", route="/api/v3/ping", probability=0.5, status=500)
    answers = [plain.send("GET", "/api/v3/ping")[0] for _ in range(60)]
    assert 10 < answers.count(500) < 50


def test_clear_one(sandbox: SandboxProcess) -> None:
    """A cleared fault strikes no more, others stay."""
    gone = sandbox.admin.fault("answer", route="/api/v3/time", status=500)
    sandbox.admin.fault("answer", route="/api/v3/ping", status=501)
    sandbox.admin.clear(gone)
    plain = Plain(sandbox)
    assert [plain.send("GET", path)[0] for path in ("/api/v3/time", "/api/v3/ping")] == [200, 501]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nonsense"},
        {"kind": "stall", "count": 0},
        {"kind": "stall", "probability": 2},
        {"kind": "stall", "ms": 1},
    ],
)
def test_bad_faults_are_refused(sandbox: SandboxProcess, wrong: dict[str, object]) -> None:
    """A fault that makes no sense is refused with what was expected."""
    with pytest.raises(SandboxRefused, match="expected"):
        sandbox.admin.request("POST", "/admin/faults", wrong)


def test_reply_twice(sandbox: SandboxProcess) -> None:
    """The same answer is written twice, although the order was executed once."""
    data, _, row = strike(sandbox, "reply_twice", timeout_s=0.3)
    assert data.count(b"HTTP/1.1 200 OK") == 2
    assert (row["fault"], row["executed"], len(sandbox.admin.orders())) == ("reply_twice", True, 1)


@pytest.mark.parametrize(
    ("name", "status", "may_execute"),
    [("-1007", 504, True), ("503", 503, True), ("-1008", 503, False), ("503-unavailable", 503, False)],
)
def test_venue_errors_keep_their_meaning(sandbox: SandboxProcess, name: str, status: int, may_execute: bool) -> None:
    """Answers that mean "unknown" sometimes hide an executed order, failures never do."""
    sandbox.admin.fault("venue_error", route=ORDER, name=name)
    plain = Plain(sandbox)
    answers = [plain.call("POST", "/api/v3/order", limit_order(quantity="0.001"))[0] for _ in range(20)]
    assert set(answers) == {status}
    executed = [row["executed"] for row in sandbox.admin.ledger(path="/api/v3/order")]
    assert len(sandbox.admin.orders()) == sum(executed)
    assert set(executed) == ({True, False} if may_execute else {False})


def test_content_type(sandbox: SandboxProcess) -> None:
    """The true answer comes under a wrong content type."""
    data, _, row = strike(sandbox, "content_type", timeout_s=0.3, type="text/html")
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"Content-Type: text/html" in head
    assert head.count(b"Content-Type") == 1
    assert json.loads(body)["clientOrderId"] == "struck"
    assert (row["fault"], row["executed"]) == ("content_type", True)


def test_half_open(sandbox: SandboxProcess) -> None:
    """Nothing is executed or answered, nothing more is read, and nobody notices that the client has gone."""
    sandbox.admin.fault("half_open", route=ORDER, count=1)
    plain = Plain(sandbox)
    with plain.dial(0.3) as sock:
        sock.sendall(plain.raw_order("struck") + plain.raw_order("after"))
        assert read_until_end(sock) == (b"", "silent")
        sock.shutdown(socket.SHUT_WR)
        assert read_until_end(sock) == (b"", "silent")
        (row,) = sandbox.admin.ledger(path="/api/v3/order")
        assert (row["client_order_id"], row["fault"], row["status"], row["executed"]) == (
            "struck", "half_open", "none", False)  # fmt: skip
        sandbox.admin.reset()
        sock.settimeout(5)
        assert read_until_end(sock) == (b"", "reset")


@pytest.mark.parametrize("name", MEANINGS)
def test_every_troubled_answer_is_sent_as_it_is(sandbox: SandboxProcess, name: str) -> None:
    """Status and body are the venue's; whatever leaves the outcome open may be executed, a failure never is."""
    meaning = MEANINGS[name]
    data, _, row = strike(sandbox, "venue_error", timeout_s=0.1, answered=True, name=name, execute_probability=1.0)
    head, _, body = data.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == meaning.status
    assert body == meaning.body
    assert (row["fault"], row["status"]) == ("venue_error", meaning.status)
    assert (row["executed"], "unknown" in row["notes"]) == (meaning.unknown, meaning.unknown)
    assert len(sandbox.admin.orders()) == row["executed"]


def test_symbol_and_connection(sandbox: SandboxProcess) -> None:
    """A fault strikes one symbol, or one connection, and leaves the others alone."""
    plain = Plain(sandbox)
    sandbox.admin.fault("answer", symbol="ETHUSDT", status=500)
    ether = limit_order("e", symbol="ETHUSDT", price="2500")
    assert plain.call("POST", "/api/v3/order", ether)[0] == 500
    assert plain.call("POST", "/api/v3/order", limit_order("b"))[0] == 200
    sandbox.admin.clear()
    with plain.dial(0.3) as struck, plain.dial(0.3) as other:
        numbers = []
        for sock in (struck, other):
            sock.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            numbers.append(sandbox.admin.ledger()[-1]["connection"])
        sandbox.admin.fault("answer", connection=numbers[0], status=500)
        for sock, status in ((struck, b"500"), (other, b"200")):
            sock.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).split()[1] == status


def test_the_same_seed_draws_the_same_chances() -> None:
    """Two sandboxes of one seed strike the same requests of a sequence; another seed strikes others."""

    def drawn(seed: int) -> list[int]:
        with SandboxProcess(quiet=True, seed=seed) as fresh:
            fresh.admin.fault("answer", probability=0.5, status=500)
            return [Plain(fresh).send("GET", "/api/v3/ping")[0] for _ in range(30)]

    first = drawn(7)
    assert (drawn(7), drawn(8) == first) == (first, False)


def test_a_clock_that_is_wrong(sandbox: SandboxProcess) -> None:
    """A venue whose clock runs ahead refuses what is timed by another one, and says what time it believes it is."""
    plain = Plain(sandbox)
    sandbox.admin.clock(60_000)
    try:
        assert plain.place("late")["code"] == -1021
        assert plain.public("/api/v3/time")["serverTime"] > time.time() * 1000 + 50_000
        sandbox.admin.clock(-60_000)
        assert plain.place("early")["code"] == -1021
    finally:
        sandbox.admin.clock(0)
    assert plain.place("right")["status"] == "NEW"


def test_hidden_orders_appear_late(sandbox: SandboxProcess) -> None:
    """While queries lag behind the engine a young order is not found, although it is there."""
    plain = Plain(sandbox)
    plain.place("young")
    named = {"symbol": "BTCUSDT", "origClientOrderId": "young"}
    hidden = sandbox.admin.fault("hidden", route="GET /api/v3/*", ms=60_000)
    assert plain.call("GET", "/api/v3/order", named)[1]["code"] == -2013
    assert plain.call("GET", "/api/v3/openOrders")[1] == []
    sandbox.admin.clear(hidden)
    assert plain.call("GET", "/api/v3/order", named)[1]["clientOrderId"] == "young"
    assert [row["fault"] for row in sandbox.admin.ledger(method="GET")] == ["hidden", "hidden", ""]


def test_no_kind_of_fault_is_without_a_test() -> None:
    """Every kind stands in one of these test files, where it strikes, and on the page that explains it."""
    here = Path(__file__).parent
    whole = "".join(path.read_text() for path in here.glob("test_*.py"))
    struck = re.sub(r'\{"kind": "[^}]*\}', "", whole)  # specifications that are refused strike nothing
    told = (here.parents[2] / "docs" / "SANDBOX.md").read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in struck] == []
    assert [kind for kind in KINDS if f"`{kind}`" not in told] == []
