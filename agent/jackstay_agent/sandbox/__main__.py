"""``python -m jackstay_agent.sandbox`` is ``jackstay sandbox``."""

from .command import sandbox_group

sandbox_group()
