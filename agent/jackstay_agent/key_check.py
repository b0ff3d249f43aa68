"""What may a key do, and is a venue there? Asked once, by a command, without an agent: `keys check` and `doctor`.

One plain request over the standard library's HTTP client, signed as the agent would sign it and led where the
configuration leads the agent. No pool, no retries: the answer is shown to a person.
"""

from __future__ import annotations

import http.client
import os
import ssl
import time
from typing import Any

from jackstay_protocols.errors import TradingBotError, ValidationError

from .config import Config
from .transport.endpoint import Endpoint
from .venues.answers import Broken
from .venues.credentials import Credentials, KeySource
from .venues.key_info import Permissions, read_permissions
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest
from .venues.profile import Profile

ASK_WITHIN_S = 10.0


def checked(config: Config, profile: Profile, source: KeySource, bot_key: str) -> dict[str, Any]:
    found: dict[str, Any] = {"trade": None, "withdraw": None, "ok": False, "problem": ""}
    try:
        credentials = source.read(os.environ)
        operations = operations_of(profile, credentials)
        if bot_key and bot_key == credentials.key and operations.needs_nonce:
            found["problem"] = "bot and agent share one key, and this venue counts nonces per key: make a second one"
            return found
        told = _ask(config, profile, operations)
    except (TradingBotError, Broken, OSError) as error:
        found["problem"] = str(error)
        return found
    found |= {"trade": told.trade, "withdraw": told.withdraw}
    if told.withdraw is not False:
        found["problem"] = (
            "it can withdraw: make a key without that permission" if told.withdraw else "the answer does not show it"
        )
    found["ok"] = not found["problem"]
    return found


def operations_of(profile: Profile, credentials: Credentials) -> Operations:
    return Operations(profile, credentials, wall_ms=lambda: int(time.time() * 1000), nonce=lambda now_ms: now_ms)


def _ask(config: Config, profile: Profile, operations: Operations) -> Permissions:
    data = profile.data.key_info
    if data is None:
        raise ValidationError(
            f"the profile {profile.name} does not know how to ask for a key's permissions: look at the venue's own page"
        )
    headers = [(name.encode(), value.encode()) for name, value in profile.data.signing.headers.items()]
    request = operations.sign(OutgoingRequest(data.method, data.path, headers))
    status, body = exchange(config.endpoint_for(data.url or profile.base_url), request)
    return read_permissions(data, status, body)


def exchange(endpoint: Endpoint, request: OutgoingRequest) -> tuple[int, bytes]:
    """One request of the command line's own, without an agent. Raises OSError."""
    line: http.client.HTTPConnection
    if endpoint.tls:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
        line = http.client.HTTPSConnection(
            endpoint.dial_host, endpoint.dial_port, timeout=ASK_WITHIN_S, context=context
        )
    else:
        line = http.client.HTTPConnection(endpoint.dial_host, endpoint.dial_port, timeout=ASK_WITHIN_S)
    try:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        headers["Host"] = endpoint.host_header.decode("ascii")
        line.request(request.method, request.target, request.body or None, headers)
        answer = line.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{endpoint.host} did not answer in HTTP: {error}") from error
    finally:
        line.close()
