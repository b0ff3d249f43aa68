"""``[user_stream]`` of a profile: how a venue tells an account's orders, fills and balances as they happen.

A stream is opened in these steps, each of which a venue may not have: fetch a token over HTTP, dial, send a signed
login and wait for the yes, send each subscription and wait for its yes. What arrives and opens like none of ``control``
is an event, handed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from jackstay_protocols.errors import ValidationError

from ..transport.ws_url import parse_ws_url
from .stream_login import LOGINS

HOWS: Final = ("signed", "keyed")


class TokenData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request whose answer holds, at JMESPath ``at``, what ``$token`` stands for in the URL and the subscriptions.

    ``how``: signed like any private request, or keyed, with the key's header alone. ``keep``: the method of the request
    to the same path that keeps it alive, every ``keep_every_s``.
    """

    method: str
    path: str
    at: str
    how: str = "signed"
    keep: str = ""
    keep_every_s: float = 1800.0


class UserStreamData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts are matched as they stand in the message, anywhere in its first bytes."""

    url: str
    login: str = "none"
    login_ok: list[str] = []  # all of these words: yes
    subscribe: list[str] = []
    subscribed: list[str] = []
    refused: list[str] = []  # any of these words in a control message while a yes is awaited: no
    token: TokenData | None = None
    heartbeat: str = ""
    heartbeat_every_s: float = 20.0
    control: list[str] = []  # openings of messages that are no events
    over: list[str] = []  # words that say: nothing more comes on this connection
    notices: list[str] = []  # words that say: this connection will be closed soon
    own_numbers: list[str] = []  # keys whose numbers belong to a connection: left out when copies are compared
    lifetime_s: float = 23 * 3600.0


def check_user_stream(data: UserStreamData, complain: Callable[[tuple[str, ...], str], None]) -> None:
    """Tell what is wrong with a table, each with its place."""
    here = ("user_stream",)
    try:
        parse_ws_url(data.url.replace("$token", "token"))
    except ValidationError as error:
        complain((*here, "url"), str(error))
    if data.login not in LOGINS:
        complain((*here, "login"), f"{data.login!r}; one of {', '.join(LOGINS)} is expected")
    if data.login != "none" and not data.login_ok:
        complain((*here, "login_ok"), "missing; the words of the venue's yes to the login are expected")
    if data.subscribe and not data.subscribed:
        complain((*here, "subscribed"), "missing; the words of the venue's yes to a subscription are expected")
    wants = "$token" in data.url or any("$token" in text for text in data.subscribe)
    if wants is (data.token is None):
        complain((*here, "token"), "a [user_stream.token] and a $token that it fills are expected together, or neither")
    if data.token is not None and data.token.how not in HOWS:
        complain((*here, "token", "how"), f"{data.token.how!r}; one of {', '.join(HOWS)} is expected")
    if data.lifetime_s <= 0 or data.heartbeat_every_s <= 0 or (data.token and data.token.keep_every_s <= 0):
        complain(here, "lifetime_s, heartbeat_every_s and keep_every_s above 0 are expected")
