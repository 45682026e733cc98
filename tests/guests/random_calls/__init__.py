"""Guests whose processors make random calls from VTL 0, 1 and 2, and what must hold after each."""
