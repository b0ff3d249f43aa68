"""A simulated exchange: a real HTTP and WebSocket server in its own process, with faults on demand.

`SandboxProcess` starts one from a test or a script; ``jackstay sandbox`` from a shell. See docs/SANDBOX.md.
"""

from .process import SandboxAdmin, SandboxProcess

__all__ = ["SandboxAdmin", "SandboxProcess"]
