"""The `Link` header: whatever form RFC 8288 allows, the address of the next page is found, or the header refused."""

import hypothesis
import hypothesis.strategies as st
import pytest

from scripts.errors import SourceRejectedError
from scripts.extract.links import next_link

ADDRESSES = st.text("abc/?&=,;'\"*.:~%", min_size=1, max_size=20)
SPACE = st.sampled_from(["", " ", "\t", "  "])
WORDS = st.text('abc ,;=<>"\\*', max_size=8)
RELATIONS = st.sampled_from(["prev", "last", "first", "https://e.x/rel#next", "nexts", "next-archive"])


def in_quotes(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def parameters(draw, relation):
    """Return the parameters of a link as text, its relation somewhere among others."""
    words = [draw(RELATIONS) for _ in range(draw(st.integers(0, 2)))]
    words.insert(draw(st.integers(0, len(words))), relation)
    name = draw(st.sampled_from(["rel", "Rel", "REL"]))
    bare = len(words) == 1 and not set(words[0]) & set(":/#") and draw(st.booleans())
    others = st.one_of(
        WORDS.map(lambda text: f"title={in_quotes(text)}"),
        st.sampled_from(["title*=UTF-8''%e2%82%ac", "hreflang=de", "media", "crossorigin", "results=true", "rel*=x"]),
    )
    found = [f"{name}={words[0]}" if bare else f"{name}={in_quotes(' '.join(words))}"]
    before, after = draw(st.lists(others, max_size=2)), draw(st.lists(others | st.just('rel="next"'), max_size=2))
    return [*before, *found, *after]


@st.composite
def headers(draw):
    """Return a header, and where its next page is."""
    others = draw(st.lists(st.tuples(ADDRESSES, RELATIONS), max_size=3))
    links = [(address, relation) for address, relation in others]
    target = draw(st.none() | ADDRESSES)
    if target is not None:
        links.insert(draw(st.integers(0, len(links))), (target, draw(st.sampled_from(["next", "NEXT", "Next"]))))
    texts = []
    for address, relation in links:
        gap = draw(SPACE)
        parts = draw(parameters(relation))
        texts.append(
            f"<{address}>"
            + "".join(f"{gap};{draw(SPACE)}{part}" for part in parts)
            + draw(st.sampled_from(["", ";", " "]))
        )
    return draw(st.sampled_from([",", ", ", " , ", ",, "])).join(texts), target


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(headers())
def test_the_next_page_is_found_in_every_form(header):
    text, target = header

    assert next_link(text) == target


@pytest.mark.parametrize(
    "text", ["<x>; rel='next'", "<x>;rel=next;", "<x>; rel=next; media", "</a;v*=1?page=2>; rel=next"]
)
def test_forms_that_servers_write(text):
    assert next_link(text) == text[1 : text.index(">")]


@pytest.mark.parametrize("text", ["x", "<x>", "<x; rel=next", '<x>; rel="next', "next: <x>", "<x>; title=next"])
def test_what_cannot_be_understood_is_no_last_page(text):
    with pytest.raises(SourceRejectedError, match="cannot be parsed"):
        next_link(text)


@pytest.mark.parametrize("text", [None, "", " ", '<x>; rel="next"; anchor="#part"'])
def test_what_names_no_next_page_is_the_last(text):
    assert next_link(text) is None


def test_a_next_page_that_the_header_calls_empty_is_none():
    """Sentry names a next page on the last one too."""
    assert next_link('<https://x/?cursor=a>; rel="next"; results="true"; cursor="a"') == "https://x/?cursor=a"
    assert next_link('<https://x/?cursor=a>; rel="next"; results="false"; cursor="a"') is None
