"""Faults on purpose: what to break and when, and the sweep that tries one fault after another."""
