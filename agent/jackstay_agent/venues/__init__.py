"""Venues are data: profiles, their loader and the signers they need."""
