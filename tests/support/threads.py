"""Servers of tests, each in a thread of the test's process."""

import contextlib
import threading


@contextlib.contextmanager
def in_thread(server):
    """Serve for the block, and yield the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
