"""An operator's verbs about the agent as a whole: how it is, whether it answers, forget what was held, stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .ports import Ports
from .upstreams import Upstreams

STOP_AFTER_ANSWER_S = 0.1


class AgentDesk:
    def __init__(
        self,
        name: str,
        ports: Ports,
        *,
        status: Callable[[], dict[str, Any]],
        upstreams: Upstreams,
        in_flight: Callable[[], int],
        request_stop: Callable[[], None],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._name = name
        self._ports = ports
        self._status = status
        self._upstreams = upstreams
        self._in_flight = in_flight
        self._request_stop = request_stop
        self._on_event = on_event

    def verbs(self) -> dict[str, Verb]:
        return {
            "status": lambda _args, _who: self._status(),
            "ping": lambda _args, _who: {"agent": self._name, "pid": self._ports.pid},
            "stop": self._stop,
            "reset": self._reset,
        }

    def _reset(self, _args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        changed = {origin.host: origin.judgement.reset() for origin in self._upstreams}
        self._on_event("operator.reset", {"uid": who.uid if who else None, "changed": changed})
        return changed

    def _stop(self, _args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        self._on_event("operator.stop", {"uid": who.uid if who else None})
        # A moment later: a peer that hears of the closing before it has read the answer loses the answer (measured).
        self._ports.loop.call_later(STOP_AFTER_ANSWER_S, self._request_stop)
        return {"stopping": True, "in_flight": self._in_flight()}
