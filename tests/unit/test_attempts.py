"""What a failed attempt says to an entry point on another machine."""

import datetime as dt

import pytest

from scripts.bronze.attempts import Attempt
from scripts.errors import PipelineError, SourceRejectedError


@pytest.mark.parametrize(
    ("name", "kind"),
    # the second one is a module that errors.py imports, and the third one no name of it
    [("SourceRejectedError", SourceRejectedError), ("re", PipelineError), ("KeyError", PipelineError)],
)
def test_its_error_has_the_class_of_the_one_that_was_noted(name, kind):
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    attempt = Attempt(moment, name, "shop/orders/2024-01-01: HTTP 404", True, 1, "a", "a run", "prefect")
    error = attempt.as_error()
    assert type(error) is kind
    assert str(error) == "shop/orders/2024-01-01: HTTP 404"
