"""Waiting for what other processes do."""

import socket
import time


def wait_for(condition, what, timeout=1200):
    """Return what a condition gives as soon as it gives something; `what` is a text, or gives one at the end."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < timeout, f"waited {timeout} s for {what() if callable(what) else what}"
        # a question costs the server more than the test: the longer it takes, the more seldom it is asked
        time.sleep(min(0.2 + waited / 10, 2))
    return found


def free_port():
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
