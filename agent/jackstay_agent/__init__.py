"""The agent. Exports exactly the public names of CONTRACT.md (filled room by room)."""
