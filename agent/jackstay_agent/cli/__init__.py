"""The operators' command line: click groups, one file per group, no logic of the agent's.

Exit codes everywhere: 0 fine, 1 unhealthy or refused, 2 usage, 3 no agent (DESIGN §7).
"""

from ..lean_imports import without

with without("typing_extensions"):  # 0.4 MB; from Python 3.11 on typing has what msgspec looks for in it
    import msgspec as msgspec

from .root import main

__all__ = ["main"]
