"""The doors: local sockets through which bots, readers and operators reach the agent."""
