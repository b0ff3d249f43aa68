"""jackstay: what a bot imports. Depends on pyzmq, msgpack and msgspec only; never imports the agent."""
