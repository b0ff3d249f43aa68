"""jackstay.fallback: what may go past an agent that is gone, and what is said of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay import fallback
from jackstay.fallback import CANCELS, DIRECT, POSTED_READS, DirectCalls, fallback_of, go_direct, kind_of
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import AgentGone, Lane, Outcome, ValidationError
from jackstay_protocols.messages import Request

ROUTES = [
    (profile.route(method, path), method, path)
    for profile in shipped_profiles().values()
    for method, path in profile.listed()
]
CANCEL = ("DELETE", "/api/v3/order")


def request(method: str, path: str, **more: object) -> Request:
    values = {"headers": [(b"X-MBX-APIKEY", b"k")], "body": b""} | more
    return Request(method, f"https://api.example.com{path}", **values)  # type: ignore[arg-type]


def test_the_lists_are_those_of_the_shipped_profiles() -> None:
    """Every cancel by id and every posted question of every venue, and no other request."""
    assert {(method, path) for route, method, path in ROUTES if route.kind == "cancel"} == CANCELS
    assert {path for route, method, path in ROUTES if method == "POST" and not route.changes} == POSTED_READS


def test_what_may_go_direct_is_a_cancel_by_id_or_a_question() -> None:
    """Judged by each profile's own word for each of its requests: nothing that places, changes or sweeps."""
    for route, method, path in ROUTES:
        kind = kind_of(request(method, path))
        if kind == "cancel":
            assert (route.lane, route.kind) == (Lane.DERISK, "cancel"), path
        elif kind == "read":
            assert not route.changes, path
        else:
            assert route.changes or method not in ("GET", "POST"), path


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), st.text(alphabet="/abcdefgh0123456789vorde", max_size=30))
def test_nothing_that_changes_something_and_is_not_listed_goes(method: str, path: str) -> None:
    """Whatever the path looks like."""
    assert kind_of(request(method, "/" + path)) in ("", "cancel")
    assert (kind_of(request(method, "/" + path)) == "cancel") is ((method, "/" + path) in CANCELS)


def test_what_only_the_agent_can_send_stays() -> None:
    """Its signature, its address; and a GET of a venue nobody has looked at."""
    assert kind_of(request(*CANCEL)) == "cancel"
    assert kind_of(request(*CANCEL, sign=True)) == ""
    assert kind_of(Request(*CANCEL, [], b"", venue="binance")) == ""
    assert kind_of(request("GET", "/trade/buy")) == ""


@pytest.mark.parametrize(
    ("given", "env", "on"),
    [(None, "", False), (None, "derisk", True), ("off", "derisk", False), ("derisk", "", True), ("", "derisk", False)],
)
def test_it_is_off_unless_asked_for(given: str | None, env: str, on: bool) -> None:
    """By argument, else by environment."""
    assert fallback_of(given, {"JACKSTAY_FALLBACK": env}) is on


def test_there_is_no_full_fallback() -> None:
    """And a typing mistake is none either."""
    with pytest.raises(ValidationError, match="no full fallback"):
        fallback_of("full", {})


def served(answer: bytes, ask: Callable[[str], object]) -> tuple[object, bytes]:
    """What asking a venue came to that answers with these bytes, and what it received."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            line, _ = door.accept()
            with line:
                heard.append(line.recv(65536))
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            told = ask(f"http://127.0.0.1:{door.getsockname()[1]}")
        finally:
            thread.join(5)
    return told, heard[0]


def http(status: int, document: object) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nX-Y: z\r\n\r\n%s" % (status, len(body), body)


def soon() -> int:
    return boot_us() + 3_000_000


@pytest.mark.parametrize(
    ("status", "document", "outcome"),
    [
        (200, {"orderId": 1, "status": "CANCELED"}, "ok"),
        (200, {"error": [], "result": {"count": 1}}, "ok"),
        (200, {"retCode": 0, "result": {}}, "ok"),
        (200, {"code": "0", "data": []}, "ok"),
        (200, [{"orderId": 1}], "ok"),
        (200, [{"code": -2011, "msg": "x"}], "unknown"),
        (200, {"error": ["EOrder:Unknown order"]}, "unknown"),
        (200, {"retCode": 10016}, "unknown"),
        (200, {"code": "1", "data": []}, "unknown"),
        (200, b"<html>", "unknown"),
        (400, {"code": -2011}, "rejected"),
        (408, b"", "unknown"),
        (503, b"", "unknown"),
    ],
)
def test_what_is_said_of_a_cancel(status: int, document: object, outcome: str) -> None:
    """Only a plain yes is one; nobody judged it, which is said too; the bytes are the venue's."""
    calls = DirectCalls()

    def ask(url: str) -> object:
        asked = Request("DELETE", f"{url}/api/v3/order?b=2&a=%20x", [(b"X-KEY", b"k"), (b"Host", b"no")], b"")
        return go_direct(asked, AgentGone("gone"), soon(), calls)

    told, heard = served(http(status, document), ask)
    assert (told.status, told.outcome, told.cause) == (status, Outcome(outcome), DIRECT)  # type: ignore[attr-defined]
    assert told.body == (document if isinstance(document, bytes) else json.dumps(document).encode())  # type: ignore[attr-defined]
    assert heard.startswith(b"DELETE /api/v3/order?b=2&a=%20x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-KEY: k\r\n" in heard
    assert b"Host: no" not in heard
    assert calls.told() == [f"DELETE 127.0.0.1/api/v3/order: HTTP {status}"]


@pytest.mark.parametrize(
    ("path", "gone", "outcome"),
    [
        ("DELETE /api/v3/order", Outcome.FAILED, Outcome.UNKNOWN),  # it was sent and nothing came back
        ("DELETE /api/v3/order", Outcome.UNKNOWN, Outcome.UNKNOWN),
        ("GET /api/v3/openOrders", Outcome.UNKNOWN, Outcome.FAILED),  # a question changes nothing
    ],
)
def test_no_answer_is_still_an_agent_that_is_gone(path: str, gone: Outcome, outcome: Outcome) -> None:
    """With what is known of the venue's side."""
    method, _, target = path.partition(" ")

    def ask(url: str) -> object:
        with pytest.raises(AgentGone, match="gone; directly: no answer") as caught:
            go_direct(Request(method, url + target, [], b""), AgentGone("gone", outcome=gone), soon(), DirectCalls())
        return caught.value.outcome

    assert served(b"", ask)[0] is outcome


def test_a_venue_that_cannot_be_dialled() -> None:
    """A cancel that provably never left is not unknown, unless it was before."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    asked = Request("DELETE", f"http://127.0.0.1:{port}/api/v3/order", [], b"")
    for before in (Outcome.FAILED, Outcome.UNKNOWN):
        with pytest.raises(AgentGone) as caught:
            go_direct(asked, AgentGone("gone", outcome=before), soon(), DirectCalls())
        assert caught.value.outcome is before


def test_an_order_or_a_spent_deadline_goes_nowhere() -> None:
    """The agent's absence is told as it was."""
    gone = AgentGone("gone", outcome=Outcome.FAILED)
    for asked, deadline_us in ((request("POST", "/api/v3/order"), soon()), (request(*CANCEL), boot_us() - 1)):
        with pytest.raises(AgentGone) as caught:
            go_direct(asked, gone, deadline_us, DirectCalls())
        assert caught.value is gone


def test_what_went_direct_is_told_until_it_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded, without queries, and once."""
    monkeypatch.setattr(fallback, "TOLD_MAX", 2)
    calls = DirectCalls()
    for number in range(4):
        calls.note(request("GET", f"/api/v3/order?signature={number}"), "HTTP 200")
    told = calls.told()
    assert told == ["GET api.example.com/api/v3/order: HTTP 200"] * 2 + ["and 2 more"]
    assert calls.told() == told
    calls.heard(told)
    assert calls.told() == []
    calls.heard([])
    calls.note(request(*CANCEL), "HTTP 200")
    assert len(calls.told()) == 1
