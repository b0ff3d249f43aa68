"""One TLS context per certificate authority file: verification and hostname check on, TLS 1.2 and newer."""

from __future__ import annotations

import ssl


def make_ssl_context(*, ca_file: str | None = None) -> ssl.SSLContext:
    """The system's authorities, or those of ``ca_file``. Raises OSError when it cannot be read."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
