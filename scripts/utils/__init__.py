"""What every package may use: logging, atomic files and locks, days, exit codes."""
