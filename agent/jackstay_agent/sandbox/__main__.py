"""`python -m jackstay_agent.sandbox`: the simulated exchange as a process of its own."""

from __future__ import annotations

from .command import sandbox_group

if __name__ == "__main__":
    sandbox_group()
