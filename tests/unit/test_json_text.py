"""JSON text: encodings, and cutting without rewriting."""

import codecs
import json

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from scripts.errors import SourceRejectedError
from scripts.extract.json_text import count_escaped, count_keys, split_list, split_object, to_utf8

TEXT = '[{"name":"Ünä €"}]'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode(), "application/json"),
        (codecs.BOM_UTF8 + TEXT.encode(), ""),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "application/json; charset=utf-8"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), ""),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), ""),
        (TEXT.encode("utf-16-le"), ""),
        (TEXT.encode("utf-16-be"), "application/json"),
        (TEXT.encode("utf-32-be"), ""),
        (TEXT.encode("cp1252"), 'application/json; charset="Windows-1252"'),
        (TEXT.encode("utf-16"), "text/json;Charset=utf-16"),
    ],
)
def test_every_encoding_gives_the_same_text(body, content_type):
    assert to_utf8(body, content_type).decode() == TEXT


def test_an_unknown_charset_is_final_and_named():
    with pytest.raises(SourceRejectedError, match="charset 'klingon'"):
        to_utf8(b"[]", "application/json; charset=klingon")


def test_a_body_that_is_no_text_in_its_charset_is_no_json():
    with pytest.raises(msgspec.DecodeError, match="not text in shift_jis"):
        to_utf8(b"[\xff\xff]", "application/json; charset=shift_jis")


def test_half_a_pair_of_utf_16_is_left_to_its_record():
    records = split_list(to_utf8('["a", "\ud800"]'.encode("utf-16-le", "surrogatepass")))

    assert records == [b'"a"', b'"\xed\xa0\x80"']


ODD = [
    b'{"a":"\\ud800"}',
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b'{"a":"\xff,]}"}',
    b'{"a":"\\x"}',
    b'{"a" : 1, "a":2}',
    b'{"a":"' + b'\\"' * 3 + b'"}',
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b"01",
    b"'x'",
    b'{"a":1 "b":2}',
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:12])
@pytest.mark.parametrize("space", [b"", b" \n\t"], ids=["compact", "spaced"])
def test_a_list_is_cut_without_rewriting(odd, space):
    values = [b'{"b": [1, {"c": "]"}]}', odd, b'"x,y"', b"7"]

    text = space + b"[" + (space + b"," + space).join(values) + space + b"]" + space

    assert split_list(text) == values


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:12])
def test_an_object_is_cut_without_rewriting(odd):
    text = b'{"a": %s, "data" :[1, 2],"a":{"b:c":"d"}}' % odd

    assert split_object(text) == [("a", odd), ("data", b"[1, 2]"), ("a", b'{"b:c":"d"}')]


@pytest.mark.parametrize("size", [1, 300])
def test_a_key_that_stands_twice_comes_twice(size):
    value = json.dumps(["x" * size]).encode()

    assert split_object(b'{"a":%s,"b":1,"a":%s}' % (value, value)) == [("a", value), ("b", b"1"), ("a", value)]


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b'[{"a":1}', b'[{"a":1},', b"[1,,2]", b"[1,]", b"[1]]", b"[1] x", b'[{"a":1]', b"<html>", b'["a'],
)
def test_what_is_no_json_is_said_to_be_none(text):
    with pytest.raises(msgspec.DecodeError):
        split_list(text)


@pytest.mark.parametrize("text", [b'{"a":1}', b'"x"', b"1"])
def test_something_else_than_a_list_is_told_apart_from_no_json(text):
    with pytest.raises(msgspec.ValidationError, match="Expected `array`"):
        split_list(text)


def test_brackets_without_an_end_are_a_final_answer():
    with pytest.raises(SourceRejectedError, match="opens 100000 brackets"):
        split_list(b"[" * 100_000)


KEYS = st.text(st.sampled_from('ab":\\ \n,{}é'), max_size=4)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('":\\ \t,{}[]a'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def keys_in(value):
    if isinstance(value, dict):
        return len(value) + sum(map(keys_in, value.values()))
    return sum(map(keys_in, value)) if isinstance(value, list) else 0


@hypothesis.given(VALUES, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), ("\n, ", "\t \n:")]))
@hypothesis.settings(deadline=None, max_examples=300)
def test_keys_are_counted_and_never_too_few(value, separators):
    text = json.dumps(value, separators=separators, ensure_ascii=False).encode()

    assert count_keys(text) - count_escaped(text) >= keys_in(value)


@hypothesis.given(st.lists(VALUES, max_size=5), st.sampled_from([(",", ":"), (" ,\n", " : ")]))
@hypothesis.settings(deadline=None, max_examples=200)
def test_what_is_cut_by_hand_is_what_msgspec_cuts(values, separators):
    # a value that msgspec refuses makes it cut by hand
    text = json.dumps([*values, float("nan")], separators=separators, ensure_ascii=False).encode()

    assert split_list(text) == [json.dumps(v, separators=separators, ensure_ascii=False).encode() for v in values] + [
        b"NaN"
    ]
