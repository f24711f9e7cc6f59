"""Modules under their names of version 0.1 that the documentation showed; they only import from the new places."""
