"""Recordings: what a run was made of and what came from outside, enough to have it again."""
