"""What the specification fixes: declarations, statuses, structures, registers and readings.

Everything imports this package; it imports nothing of the others but the exceptions.
"""
