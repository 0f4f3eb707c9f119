"""Each kind of file that is damaged: commands say so without a traceback, and what they advise repairs it."""

import os

import pytest

from tests.crash.rot import DAMAGES, KINDS, prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20000)]

SAMPLE = [
    ("record", "byte 0x80"),
    ("published version", "a bit in the middle"),
]
TRIED = [(kind, damage) for kind in KINDS for damage in DAMAGES] if os.environ.get("CRASH_STATES") == "all" else SAMPLE


@pytest.fixture(scope="module")
def rot(tmp_path_factory):
    """A data folder of which each damage gets a copy."""
    with prepared(tmp_path_factory.mktemp("rot")) as made:
        yield made


@pytest.mark.parametrize(("kind", "damage"), TRIED)
def test_damage_is_named_and_the_advice_repairs_it(rot, kind, damage):
    assert rot.judge(kind, damage).problems == []
