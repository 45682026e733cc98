"""A server of GDB's remote serial protocol, through which a real gdb debugs a guest."""
