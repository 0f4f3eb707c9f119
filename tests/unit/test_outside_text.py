"""Text from outside cannot command a terminal, forge a line, mention anybody, or fill a page."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.errors import DataError
from scripts.security import outside_text
from scripts.utils.logging_config import get_logger, setup_logging

FORGED = "ok\n2024-01-01T00:00:00Z ERROR forged\r\x1b[2J\x1b]0;title\x07\u2028\u202e<!channel> <@U1>"
"""A body that would forge a line of a log, clear a terminal and set its title, and mention everybody in Slack."""


@given(st.text())
def test_one_line_is_one_line_without_commands(text):
    shown = outside_text.one_line(text)
    assert {unicodedata.category(letter) for letter in shown} & {"Cc", "Zl", "Zp", "Cs"} == set()
    assert len(shown.splitlines()) <= 1


@given(st.text())
def test_several_lines_hold_no_other_commands(text):
    shown = outside_text.lines(text)
    assert {unicodedata.category(letter) for letter in shown.replace("\n", "")} & {"Cc", "Zl", "Zp", "Cs"} == set()


@given(st.text(alphabet="<>&!@#|CU1 a") | st.just(FORGED))
def test_slack_sees_no_markup(text):
    shown = outside_text.slack(text)
    assert not set("<>") & set(shown)
    assert shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == outside_text.lines(text)


def test_five_megabytes_are_cut_at_every_place():
    text = "x" * 5_000_000
    for show in (outside_text.one_line, outside_text.lines, outside_text.slack):
        assert len(show(text)) <= outside_text.LONGEST_MESSAGE
    assert len(str(DataError(text, where=text, expected=text, hint=text))) < 5 * outside_text.LONGEST_MESSAGE


@pytest.mark.parametrize("text", [True, False])
def test_a_body_forges_no_line_of_a_log(text, capsys):
    setup_logging("pipeline", "INFO", text=text)
    get_logger("test").info("the source says %s", FORGED)
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert "forged" in shown
    assert not set(shown.rstrip("\n")) & set("\x1b\r\x07\u2028\u202e")
