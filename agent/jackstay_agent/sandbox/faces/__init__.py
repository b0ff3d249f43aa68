"""How the engine looks from outside: one file per venue shape."""
