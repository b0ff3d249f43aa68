"""Pure decisions: values and ``now`` in, values out. No loop, socket, clock, chance, disk or log in this room."""
