"""The matching engine: pure, deterministic, exact. Clock and chance are arguments; nothing here knows a socket."""
