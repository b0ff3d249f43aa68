"""The venue without sockets: book, balances, orders and a background market, all driven by an injected clock.

Nothing in here opens a socket, reads a clock or draws an unseeded number, so that a simulation can run the
same venue in virtual time that the server runs in real time.
"""
