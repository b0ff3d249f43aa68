"""structlog without rich, which its console renderer would load where it is installed: 50 modules, 4 MB of the agent.

rich would print the local variables of an exception too, and an agent's local variables hold keys.
"""

from __future__ import annotations

from .lean_imports import without

with without("rich"):
    import structlog as structlog
