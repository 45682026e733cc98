"""Snapshots: the whole state of a machine, kept in memory or in a file, and gone back to."""
