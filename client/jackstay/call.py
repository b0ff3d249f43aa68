"""Step 1: the caller's words become a wire request, or a ValidationError that says how to fix the call.

Pure: knows the limits of the wire, no socket and no clock. What is refused here never costs a round trip, and too big
a frame could not be refused by the agent at all (ZeroMQ can only cut it off together with the connection).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from jackstay_protocols.codec import encode
from jackstay_protocols.errors import Lane, Reason, ValidationError
from jackstay_protocols.limits import (
    DEADLINE_S_DEFAULT,
    DEADLINE_S_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    HOLD_S_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
    METHOD_BYTES_MAX,
    NESTING_DEPTH_MAX,
    QUEUED_TTL_S_MAX,
    REQUEST_BODY_BYTES_MAX,
    TEXT_BYTES_MAX,
    TO_AGENT_FRAME_BYTES_MAX,
    TOPIC_BYTES_MAX,
    TOPICS_PER_SUBSCRIBE_MAX,
    URL_BYTES_MAX,
)
from jackstay_protocols.messages import Headers, Message, Post, Request

HeadersIn = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None
BodyIn = bytes | bytearray | memoryview | str | None

# RFC 9110 5.6.2: a field name and a method are tokens.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
# what nearly every URL looks like; whatever does not match is looked at in detail, for an error that helps
_USUAL_URL = re.compile(r"https?://[0-9A-Za-z\[][!-~]*\Z").match
_METHOD = re.compile(r"[A-Z]+\Z")
_known_names: dict[str | bytes, bytes] = {}
KNOWN_NAMES_MAX = 256
_TEXT_CUT = "… (cut)"


def request_message(
    method: str,
    url: str | None,
    *,
    venue: str | None,
    path: str | None,
    headers: HeadersIn,
    body: BodyIn,
    lane: Lane | str | None,
    idempotency_key: str | None,
    sign: bool,
    tag: str,
    patient: bool = False,
) -> Request:
    """The wire's Request. Raises ValidationError (reason bad_request or too_large) naming the argument."""
    usual = type(url) is str and not venue and not path and len(url) <= URL_BYTES_MAX and _USUAL_URL(url)
    return Request(  # by position: this is every order's way
        method if method in _USUAL_METHODS else _method(method),
        url if usual else _target(url, venue, path),  # type: ignore[arg-type]
        header_pairs(headers) if headers else [],
        body if type(body) is bytes and len(body) <= REQUEST_BODY_BYTES_MAX else _body(body),
        venue or "",
        None if lane is None else _lane(lane),
        _key(idempotency_key) if idempotency_key else "",
        bool(sign),
        tag,
        bool(patient),
    )


def post_message(request: Request, ttl_s: float) -> Post:
    """The queued form of a request; ``ttl_s`` seconds, above 0, at most a day."""
    return Post(
        method=request.method,
        target=request.target,
        headers=request.headers,
        body=request.body,
        venue=request.venue,
        lane=request.lane,
        idempotency_key=request.idempotency_key,
        sign=request.sign,
        tag=request.tag,
        ttl_s=seconds("ttl_s", ttl_s, QUEUED_TTL_S_MAX),
    )


def seconds(name: str, value: float, at_most: float) -> float:
    """A finite number of seconds, above 0 and not above ``at_most``; else ValidationError naming ``name``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= at_most:
        raise _bad(f"{name} is {value!r}; a number of seconds above 0 and at most {at_most:g} is expected")
    return float(value)


def hold_of(hold_s: float) -> float:
    """How long market data may be collected, in seconds; ValidationError outside the wire's bounds."""
    if isinstance(hold_s, bool) or not isinstance(hold_s, (int, float)) or not 0 <= hold_s <= HOLD_S_MAX:
        raise _bad(f"hold_s is {hold_s!r}; a number of seconds from 0 (at once) to {HOLD_S_MAX:g} is expected")
    return float(hold_s)


def deadline_of(deadline_s: float | None, deadline: float | None) -> float:
    """Relative seconds from the two spellings (``deadline`` is short for ``deadline_s``), or the default."""
    if deadline_s is None:
        if deadline is None:
            return DEADLINE_S_DEFAULT
        return seconds("deadline", deadline, DEADLINE_S_MAX)
    if deadline is not None:
        raise _bad("deadline and deadline_s are both given; one of them is expected")
    return seconds("deadline_s", deadline_s, DEADLINE_S_MAX)


def frame_of(message: Message, request_id: int, when: int, beat_ds: int, bytes_max: int) -> bytes:
    """The frame, or ValidationError (too_large) when the agent could only cut it off."""
    frame = encode(message, id=request_id, when=when, beat_ds=beat_ds)
    if len(frame) > bytes_max or len(frame) > TO_AGENT_FRAME_BYTES_MAX:
        raise _too_large(f"a {type(message).__name__} of {len(frame)} bytes", min(bytes_max, TO_AGENT_FRAME_BYTES_MAX))
    return frame


def header_pairs(headers: HeadersIn) -> Headers:
    """Pairs of bytes in the given order; text is Latin-1, or UTF-8 where Latin-1 has no such letter."""
    items = headers.items() if isinstance(headers, (dict, Mapping)) else headers
    pairs: Headers = []
    size = 0
    for item in items or ():
        try:
            name, value = () if isinstance(item, (str, bytes)) else item
        except (TypeError, ValueError):
            raise _bad(f"a header {type(item).__name__}; (name, value) pairs or a mapping are expected") from None
        name_bytes = _known_names.get(name) or _header_name(name)
        value_bytes = (
            value.encode()
            if type(value) is str and value.isascii() and value.isprintable()
            else _header_value(name, value)
        )
        size += len(name_bytes) + len(value_bytes)
        pairs.append((name_bytes, value_bytes))
    if len(pairs) > HEADERS_MAX:
        raise _too_large(f"{len(pairs)} headers", HEADERS_MAX, unit="")
    if size > HEADER_BYTES_MAX:
        raise _too_large(f"headers of {size} bytes", HEADER_BYTES_MAX)
    return pairs


def check_topics(topics: Iterable[str]) -> list[str]:
    """A list of topics within the wire's bounds."""
    if isinstance(topics, (str, bytes)):
        raise _bad(f"topics is the single text {topics!r}; a list of topics is expected")
    listed = list(topics)
    if len(listed) > TOPICS_PER_SUBSCRIBE_MAX:
        raise _too_large(f"{len(listed)} topics", TOPICS_PER_SUBSCRIBE_MAX, unit="")
    for topic in listed:
        if not isinstance(topic, str) or not topic or len(topic.encode()) > TOPIC_BYTES_MAX:
            raise _bad(f"topic {topic!r}; a text of 1 to {TOPIC_BYTES_MAX} bytes is expected")
    return listed


def plain(value: Any, depth: int = 0) -> Any:
    """Free-form values as the wire takes them: Decimal and datetime become text, never a float (rule 15)."""
    if value is None or (isinstance(value, (str, int, float, bytes)) and not isinstance(value, Enum)):
        return value
    if depth >= NESTING_DEPTH_MAX:
        raise _bad(f"a value nested deeper than {NESTING_DEPTH_MAX} levels")
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each, depth + 1) for each in value]
    raise _bad(f"a {type(value).__name__} in a report; texts, numbers, Decimals, lists and dicts are expected")


def short(text: str) -> str:
    """Text within the wire's bound; what is longer is cut and says so."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= TEXT_BYTES_MAX:
        return text
    return raw[: TEXT_BYTES_MAX - len(_TEXT_CUT.encode())].decode("utf-8", "ignore") + _TEXT_CUT


def _method(method: str) -> str:
    if type(method) is str:
        if method in _USUAL_METHODS:
            return method
        upper = method.upper()
        if _METHOD.match(upper) and len(upper) <= METHOD_BYTES_MAX:
            return upper
    raise _bad(f"method {method!r}; an HTTP method of 1 to {METHOD_BYTES_MAX} letters is expected")


_USUAL_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})


def _target(url: str | None, venue: str | None, path: str | None) -> str:
    if url is not None:
        if venue or path:
            raise _bad("url is given together with venue or path; either url, or venue and path are expected")
        target = url
        if not isinstance(target, str) or not target.startswith(("https://", "http://")):
            raise _bad(f"url {_shown(target)}; a full URL that starts with https:// or http:// is expected")
        # the host ends at the first of / ? #; an empty one is no URL
        if target[target.index("//") + 2 :][:1] in ("", "/", "?", "#", ":", "@"):
            raise _bad(f"url {_shown(target)} has no host; https://host/path is expected")
    else:
        if not venue or path is None:
            raise _bad("neither url nor venue and path are given; one of the two is expected")
        target = path
        if not isinstance(target, str) or not target.startswith("/"):
            raise _bad(f"path {_shown(target)}; a path that starts with / is expected")
        if not isinstance(venue, str) or len(venue) > 64 or not venue.isprintable():
            raise _bad(f"venue {_shown(venue)}; a venue's name is expected")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise _bad(f"url {_shown(target)} holds spaces, control or non-ASCII characters; percent-encode them")
    if len(target) > URL_BYTES_MAX:
        raise _too_large(f"a url of {len(target)} bytes", URL_BYTES_MAX)
    return target


def _shown(value: object) -> str:
    """A URL for a message: without its query, where signatures live (rule 10)."""
    if isinstance(value, str):
        bare = value.split("?", 1)[0]
        return repr(bare[:80] + ("…" if len(bare) > 80 else ""))
    return f"of type {type(value).__name__}"


def _body(body: BodyIn) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        body = body.encode()
    elif isinstance(body, (bytearray, memoryview)):
        body = bytes(body)
    elif not isinstance(body, bytes):
        raise _bad(f"body is a {type(body).__name__}; bytes (or text, sent as UTF-8) are expected: encode it first")
    if len(body) > REQUEST_BODY_BYTES_MAX:
        raise _too_large(f"a body of {len(body)} bytes", REQUEST_BODY_BYTES_MAX)
    return body


def _lane(lane: Lane | str) -> Lane:
    try:
        return Lane(lane)
    except ValueError:
        raise _bad(f"lane {lane!r}; one of {', '.join(Lane)} is expected") from None


def _key(key: str) -> str:
    if not isinstance(key, str) or not key.isprintable() or len(key.encode()) > IDEMPOTENCY_KEY_BYTES_MAX:
        raise _bad(f"idempotency_key {key!r}; 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable bytes are expected")
    return key


def _header_name(name: object) -> bytes:
    """A checked name; the handful that a bot uses is remembered."""
    raw = _header_bytes(name, "name")
    if not _TOKEN.match(raw):
        raise _bad(f"header name {raw[:60]!r}; letters, digits and -_.!#$%&'*+^`|~ are expected")
    if isinstance(name, (str, bytes)) and len(_known_names) < KNOWN_NAMES_MAX:
        _known_names[name] = raw
    return raw


def _header_value(name: str | bytes, value: object) -> bytes:
    raw = _header_bytes(value, f"value of {name!r}")
    if b"\r" in raw or b"\n" in raw or b"\0" in raw:
        raise _bad(f"header {name!r} holds CR, LF or NUL; one line of text is expected")
    return raw


def _header_bytes(value: object, what: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return value.encode("utf-8")
    if isinstance(value, bytes):
        return value
    raise _bad(f"header {what} is a {type(value).__name__}; text or bytes are expected")


def _bad(message: str) -> ValidationError:
    return ValidationError(message, reason=Reason.BAD_REQUEST)


def _too_large(what: str, at_most: int, unit: str = " bytes") -> ValidationError:
    return ValidationError(
        f"{what}; {at_most}{unit} at most are sent: split it, or send less",
        reason=Reason.TOO_LARGE,
        details={"limit": at_most},
    )
