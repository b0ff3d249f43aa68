"""Faces: how each venue's shape speaks to the one engine: parse, ask the engine, write the venue's JSON."""
