"""Sends what a profile's `Operations` build to a sandbox, and gives their reading of the answer."""

from __future__ import annotations

import http.client
import time

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.venues.answers import Answer
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from v5_client import KEY, PASSPHRASE, SECRET


class OperationsClient:
    """One shipped profile with the sandbox's default key; `late_ms`: how far its clock is behind."""

    def __init__(self, sandbox: SandboxProcess, profile: str, secret: str = SECRET, late_ms: int = 0) -> None:
        self.operations = Operations(
            shipped_profiles()[profile],
            Credentials(KEY, secret, PASSPHRASE, origin="a test"),
            wall_ms=lambda: int(time.time() * 1000) - late_ms,
        )
        self._port = sandbox.port

    def send(self, request: OutgoingRequest) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {name.decode(): value.decode() for name, value in request.headers}
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, name: str, family: str = "", **given: str | int) -> Answer:
        status, body = self.send(self.operations.request(name, family=family, **given))
        return self.operations.read(name, status, body, family=family, asked=given)
