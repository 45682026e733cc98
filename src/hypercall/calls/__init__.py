"""What each hypercall does: one module per family of calls."""
