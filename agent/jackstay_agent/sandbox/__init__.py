"""A simulated exchange: a real HTTP and WebSocket server in its own process, with faults on demand.

Importing this is light: the server's libraries are loaded only in the process that serves.
"""

from __future__ import annotations

from .process import SandboxAdmin, SandboxProcess, SandboxRefused

__all__ = ["SandboxAdmin", "SandboxProcess", "SandboxRefused"]
