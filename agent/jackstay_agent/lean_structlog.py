"""structlog without rich, which its console renderer would load where it is installed: 50 modules, 4 MB of the agent.

rich would print the local variables of an exception too, and an agent's local variables hold keys.
"""

from __future__ import annotations

import sys

_LOADED = "rich" in sys.modules
if not _LOADED:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, as if it were not there
try:
    import structlog as structlog
finally:
    if not _LOADED:
        del sys.modules["rich"]
