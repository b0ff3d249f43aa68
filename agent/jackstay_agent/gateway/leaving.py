"""The agent's last words on bot.sock, so that a restart is a pause for a bot and nothing else.

Two of them. When the stop begins, `leave`: nothing more is taken, and each socket is told which of its requests are
still seen through; what a client sent and finds neither answered nor named there was never accepted, and the next
agent may have it. When all is seen through, `farewell`: what is left in flight (nothing, unless the drain's time ran
out), and please confirm. The confirmation matters: a client's ZeroMQ drops what arrived and was not read when the
connection ends (measured: 10 of 10), so closing after the last answer would lose the answers of a busy bot.

A client of an earlier version knows neither word; it is given `CONFIRM_WITHIN_S` like one that sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jackstay_protocols.codec import encode
from jackstay_protocols.errors import Reason
from jackstay_protocols.messages import Refusal
from jackstay_protocols.session import LAST_WORD_READ

from .call import Peer

#: A bot whose loop is busy, or which sleeps between its calls, is not waited for longer.
CONFIRM_WITHIN_S = 0.4


class Leaving:
    """Last words to peers, and who has read them."""

    def __init__(self, send: Callable[[Peer, bytes], None]) -> None:
        self._send = send
        self._unread: set[bytes] = set()
        self._when_read: Callable[[], None] | None = None

    def leave(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            self._send(peer, encode(_word(peer, confirm=False)))

    def farewell(self, peers: Iterable[Peer], when_read: Callable[[], None]) -> None:
        """Calls back when every peer has confirmed; at once when there is none."""
        listening = list(peers)
        self._unread = {peer.identity for peer in listening}
        self._when_read = when_read
        for peer in listening:
            self._send(peer, encode(_word(peer, confirm=True)))
        self._look()

    def confirmed(self, identity: bytes, ids: list[str]) -> bool:
        """True when this was a confirmation and nothing else."""
        if ids != [LAST_WORD_READ]:
            return False
        self.gone(identity)
        return True

    def gone(self, identity: bytes) -> None:
        if identity in self._unread:
            self._unread.discard(identity)
            self._look()

    def _look(self) -> None:
        if not self._unread and self._when_read is not None:
            done, self._when_read = self._when_read, None
            done()


def _word(peer: Peer, *, confirm: bool) -> Refusal:
    return Refusal(
        Reason.DRAINING,
        "the agent is stopping",
        2.0,
        details={"accepted": list(peer.in_flight), "confirm": confirm},
    )
