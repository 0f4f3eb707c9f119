"""The files of secrets: read as they were written, and readable for nobody else from their first moment on."""

import stat

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.admin.env_file import SECRET_NAMES, init_env, quoted, write_secret_files

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
SNIPPETS = st.sampled_from(
    ["'", '"', "#", " #", "\n", "\r", "\r\n", "\\", "\\n", "$", "${", "${HOME}", "}", "=", " ", "x"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS | st.lists(SNIPPETS, min_size=1).map("".join), min_size=1, max_size=3))
def test_every_value_is_read_as_it_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("env") / "settings.env"
    expected = {f"NAME_{number}": value for number, value in enumerate(values)}
    path.write_bytes("".join(f"{name}={quoted(value)}\n" for name, value in expected.items()).encode())
    assert dotenv_values(path) == expected


@pytest.mark.parametrize("value", ["it's", 'say "x"', "a # b", "two\nlines", "x'\nSMTP_HOST='evil"])
def test_a_value_of_env_reaches_production_and_changes_no_other(tmp_path, value):
    env_file, folder = tmp_path / ".env", tmp_path / "secrets"
    init_env(env_file)
    with env_file.open("a") as file:
        file.write(f"SMTP_PASSWORD={quoted(value)}\nSMTP_HOST=mail.example.com\n")
    write_secret_files(folder, env_file)
    found = dotenv_values(folder / "settings.env")
    assert (found["SMTP_PASSWORD"], found["SMTP_HOST"]) == (value, "mail.example.com")
    assert not set(SECRET_NAMES) & set(found)


def test_the_files_are_their_owners_alone(tmp_path):
    init_env(tmp_path / ".env")
    write_secret_files(tmp_path / "secrets", tmp_path / ".env")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_the_file_is_never_readable_for_others(tmp_path, monkeypatch):
    import os  # noqa: PLC0415 — watched here alone

    modes, really_open = [], os.open

    def watched(path, flags, mode=0o777, **more):
        handle = really_open(path, flags, mode, **more)
        if ".env" in str(path):
            modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return handle

    monkeypatch.setattr(os, "open", watched)
    init_env(tmp_path / ".env")
    assert modes
    assert {mode & 0o077 for mode in modes} == {0}
