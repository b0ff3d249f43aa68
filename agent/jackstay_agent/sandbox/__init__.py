"""A simulated exchange: a real HTTP and WebSocket server in its own process, with faults on demand."""
