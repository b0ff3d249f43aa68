"""``python -m jackstay_agent.cli`` is ``jackstay``."""

from . import main

main()
