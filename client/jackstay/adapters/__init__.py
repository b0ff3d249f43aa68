"""Drop-in routes for the libraries bots already use; each is imported only on use."""
