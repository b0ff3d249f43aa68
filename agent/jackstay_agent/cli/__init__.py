"""The operators' command line: click groups, one file per group, no logic of the agent's.

Exit codes everywhere: 0 fine, 1 unhealthy or refused, 2 usage, 3 no agent (DESIGN §7).
"""

from .root import main

__all__ = ["main"]
