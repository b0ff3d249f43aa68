"""The way to the venue: pooled HTTP/1.1, WebSocket, TLS and name resolution."""
