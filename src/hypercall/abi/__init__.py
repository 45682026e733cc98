"""The calling convention: from the registers of a hypercall to a handler's call, and back."""
