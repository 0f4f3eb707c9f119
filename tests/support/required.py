"""Parts of the machine that some tests need, and that CI has to have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def without(variable: str, reason: str) -> NoReturn:
    """Skip a test whose part is missing, with the reason; fail where a variable says that the part has to be there."""
    if os.environ.get(variable):
        pytest.fail(reason)
    pytest.skip(reason)
