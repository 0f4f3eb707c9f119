"""A sample of answers that no source should give; `make fuzz` tries them for an hour."""

import hypothesis
import pytest

from tests.fuzz.fuzzing import CASES, change, check, load

FOUND = [
    {"shape": "graphql_github", "rows": 3, "changes": [(0, ("flip", (135, 128)))]},
    {"shape": "django_rest", "rows": 3, "changes": [(0, ("flip", (22, 128)))]},
]
"""Cases that `make fuzz` found."""


@pytest.mark.slow
@hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(case=CASES)
def test_whatever_a_source_answers_ends_in_a_record_or_in_an_error_of_ours(case):
    check(case)


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case["shape"])
def test_what_the_fuzz_found_is_an_error_of_ours(case):
    check(case)


def test_the_check_is_red_for_an_exception_of_another_kind(monkeypatch):
    def torn(*_):
        raise KeyError("torn")

    monkeypatch.setattr("scripts.ingest_api.RowReader.read", torn)
    with pytest.raises(KeyError):
        check({"shape": "django_rest", "rows": 3, "changes": []})


def test_a_case_without_changes_is_an_honest_load():
    assert load({"shape": "django_rest", "rows": 5, "changes": []}).bronze == 5
    assert change((200, {}, b'{"a": [1, 2]}'), ("drop", 1))[2] == b'{"a": [2]}'
