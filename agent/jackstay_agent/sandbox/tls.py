"""TLS under a throw-away certificate authority, whose certificate is left in a file for clients to trust."""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class ThrowAway:
    """A server context and the file with the authority's certificate."""

    context: ssl.SSLContext
    ca_file: str

    def remove(self) -> None:
        try:
            os.unlink(self.ca_file)
        except FileNotFoundError:
            pass


def throw_away(host: str) -> ThrowAway:
    """A fresh authority and a certificate for this host, `localhost` and the exchange names it stands in for."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert(host, "localhost", "127.0.0.1", "*.binance.com", "*.binance.vision")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    handle, path = tempfile.mkstemp(prefix="jackstay-sandbox-ca-", suffix=".pem")
    os.write(handle, authority.cert_pem.bytes())
    os.close(handle)
    return ThrowAway(context, path)
