"""A venue's WebSockets as data: which carry data only, and how orders stand in the messages of the others (DESIGN §6).

``[[sockets]]`` of a profile. A socket that carries orders names its methods, each with the REST route that does the
same: lane, weight, order family and journal entry of an order are that route's, however it travels. A socket nobody
named is read with care: a message whose verb sounds like an order is not let through.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlencode

import msgspec

from .outgoing import json_bytes

CARRIES = frozenset({"data", "orders"})
REFUSALS = frozenset({"now", "wait", "final", "unknown"})
#: Where venues put the verb of a message.
VERBS = ("method", "op", "event", "action", "type", "e", "reqType")
_ORDERLY = re.compile(
    r"order(?!s?book)|trade[._/-]?(place|create|new)|place|amend|replace|batch|buy|sell|edit|post|withdraw|transfer|execute"
    r"|create|submit|\bnew\b|\bon\b|\boc\b",
    re.IGNORECASE,
)
#: Verbs that only listen, whatever they name: {"op": "subscribe", "args": [{"channel": "orders"}]}.
_LISTENING = re.compile(
    r"(un)?subscribe|(un)?sub|(un)?subscription|ping|pong|login|logon|logout|auth\w*", re.IGNORECASE
)


class SocketData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[sockets]]`` table."""

    at: list[str]  # HOST/PATH; the path may end in *
    carries: str  # data | orders
    verb: str = ""  # the message's field that names the method
    id: str = ""  # the field that the answer repeats
    params: str = ""  # the field that holds the parameters: an object, or a list with one object per order
    lists: list[str] = []  # verbs whose list of params stays one; of others its only object is what REST takes
    form: bool = False  # the REST route takes a form, not JSON
    rename: dict[str, str] = {}  # a parameter's name here -> its name at the REST route
    key: str = ""  # the parameter that carries the API key
    methods: dict[str, str] = {}  # verb -> "METHOD /path" of the route that does the same
    # the answer, as the REST route would give it
    status: str = ""  # its field with the HTTP status; without one an answer is a 200
    result: str = ""  # its field with what REST has as the body; without one the whole message is
    error: str = ""  # its field with what REST has as the body of a refusal
    errors_as: str = ""  # REST has a list of errors under this name, beside the result (Kraken)
    moved: dict[str, str] = {}  # of a whole message: a field's name here -> its name in the REST body
    refusal: str = ""  # the venue's own form of a refusal: $id, $verb, $status, $code, $message, $both are put in
    codes: dict[str, list[Any]] = {}  # now | wait | final | unknown -> [status, code]; [] where it has no word


def check_sockets(sockets: list[SocketData], routes: set[tuple[str, str]]) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong, each with its place."""
    problems: list[tuple[tuple[str, ...], str]] = []
    for each in sockets:
        where = f"[[sockets]] {', '.join(each.at)[:60]}"

        def wrong(what: str, where: str = where) -> None:
            problems.append((("sockets",), f"{where}: {what}"))

        if each.carries not in CARRIES:
            wrong(f"carries = {each.carries!r}; data or orders is expected")
        for place in each.at:
            if "/" not in place or "*" in place.partition("/")[0]:
                wrong(f"at {place!r}; HOST/PATH is expected, as in 'stream.acme.example/ws/*'")
        if each.carries == "data" and each.methods:
            wrong("methods on a socket that carries data only")
        if each.methods and not (each.verb and each.id and each.params and each.refusal):
            wrong("methods without verb, id, params and refusal: an order there could not be read and answered")
        for verb, route in each.methods.items():
            if tuple(route.partition(" ")[::2]) not in routes:
                wrong(f"method {verb!r} is as {route!r}, which is not in [routes]")
        unknown = sorted(each.codes.keys() ^ REFUSALS) if each.methods else []
        if unknown:
            wrong(f"codes for {', '.join(sorted(REFUSALS))} are expected; {', '.join(unknown)} differ")
        if each.methods and each.refusal:
            problem = _refusal_problem(each)
            if problem:
                wrong(problem)
    return problems


def _refusal_problem(socket: SocketData) -> str:
    try:
        json.loads(refusal_text(socket, "now", "1", next(iter(socket.methods)), 'a "quoted" word'))
    except (ValueError, KeyError, IndexError) as error:
        return f"its refusal is no JSON once filled in: {error}"
    return ""


def socket_at(sockets: list[SocketData], host: str, path: str) -> SocketData | None:
    """The one that names this place most closely."""
    place = f"{host}{path or '/'}"
    found = [(len(pattern), each) for each in sockets for pattern in each.at if fnmatchcase(place, pattern)]
    return max(found, key=lambda one: one[0])[1] if found else None


def hosts_of(sockets: list[SocketData]) -> set[str]:
    return {place.partition("/")[0] for each in sockets for place in each.at}


def refusal_text(socket: SocketData, kind: str, id: Any, verb: str, message: str) -> bytes:
    """The agent's refusal as this venue would say it; empty where it has no word for it. ``kind``: now, wait, ..."""
    if not socket.codes[kind]:
        return b""
    status, code = socket.codes[kind]
    both = f"{code} ({message})"
    values = {"id": id, "verb": verb, "status": status, "code": code, "message": message, "both": both}
    return re.sub(r"\$(\w+)", lambda name: json.dumps(values[name.group(1)]), socket.refusal).encode()


def request_of(socket: SocketData, verb: str, message: dict[str, Any]) -> tuple[str, str, bytes, str]:
    """Method, target, body and API key of the REST request that would do the same. Raises ValueError."""
    method, _, path = socket.methods[verb].partition(" ")
    params = message.get(socket.params)
    if isinstance(params, list) and verb not in socket.lists:
        if len(params) != 1:
            raise ValueError(f"{socket.params} of {verb} holds {len(params)} entries; one is expected")
        params = params[0]
    if not isinstance(params, dict | list):
        raise ValueError(f"{socket.params} of {verb} is no object")
    if socket.rename:
        params = _renamed(socket.rename, params)
    key = params.get(socket.key, "") if socket.key and isinstance(params, dict) else ""
    if not socket.form:
        return method, path, json_bytes(params), str(key)
    if not isinstance(params, dict):
        raise ValueError(f"{socket.params} of {verb} is no object")
    pairs = [(str(name), _as_text(value)) for name, value in params.items()]
    return method, path, urlencode(pairs).encode(), str(key)


def _renamed(names: dict[str, str], value: Any) -> Any:
    """Names as the REST route has them, also inside the orders of a batch."""
    if isinstance(value, list):
        return [_renamed(names, each) if isinstance(each, dict) else each for each in value]
    return {
        names.get(name, name): _renamed(names, each) if isinstance(each, list) else each for name, each in value.items()
    }


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json_bytes(value).decode()


def answer_of(socket: SocketData, message: dict[str, Any]) -> tuple[int, bytes]:
    """Status and body as the REST route would have answered."""
    status = message.get(socket.status) if socket.status else 200
    if socket.errors_as:
        wrong = message.get(socket.error)
        errors = [] if wrong in (None, "") else [wrong]
        body: Any = {socket.errors_as: errors, **({} if errors else {socket.result: message.get(socket.result)})}
    elif socket.error and message.get(socket.error) is not None:
        body = message[socket.error]
    elif socket.result:
        body = message.get(socket.result)
    else:
        body = {socket.moved.get(name, name): value for name, value in message.items()}
    return (status if isinstance(status, int) else 200), json_bytes(body)


def sounds_like_an_order(payload: bytes) -> bool:
    """Whether a message to a socket nobody named may place an order. What cannot be read may."""
    text = payload.strip()
    if text in (b"ping", b"pong", b"", b"2", b"3"):  # bare heartbeats
        return False
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return True
    messages = message if isinstance(message, list) and all(isinstance(each, dict) for each in message) else [message]
    return any(_orderly(each) for each in messages)


def _orderly(message: Any) -> bool:
    if isinstance(message, list):  # Bitfinex: [0, "on", null, {...}]
        return any(isinstance(each, str) and _ORDERLY.search(each) for each in message[:3])
    if not isinstance(message, dict):
        return False
    verbs = [message[name] for name in VERBS if isinstance(message.get(name), str)]
    if verbs and _LISTENING.fullmatch(verbs[0].rpartition(".")[2].rpartition("/")[2]):
        return False
    return not verbs or any(_ORDERLY.search(each) for each in verbs)
