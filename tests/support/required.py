"""Parts of the machine that some tests need, and that CI has to have."""

import os

import pytest


def without(variable, reason):
    """Skip a test whose part is missing, with the reason; fail where a variable says that the part has to be there."""
    pytest.fail(reason) if os.environ.get(variable) else pytest.skip(reason)
