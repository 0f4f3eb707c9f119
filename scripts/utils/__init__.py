"""Utilities that every package may import: logging, atomic files and locks, days, exit codes."""
