"""Link headers are read as RFC 8288 says, and what cannot be read is not passed over in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.http.paging.link_header import read_links

# The header, and where its next pages are.
READABLE = {
    '<https://api.example.com/items?page=2>; rel="next"': ["https://api.example.com/items?page=2"],
    "</items?page=2>; rel=next": ["/items?page=2"],
    "</a>;rel=prev,</b>;rel=next,</c>;rel=last": ["/b"],
    '</b>; rel="next last"': ["/b"],
    '</b>; rel="NEXT"': ["/b"],
    "</b> ; REL = next ; title=x": ["/b"],
    '</a>; rel="prev"; title="a, b; rel=next", </b>; rel="next"': ["/b"],
    '</b>; title="say \\"next\\""; rel=next': ["/b"],
    "</b,c;d>; rel=next": ["/b,c;d"],
    "< /b >; rel=next": ["/b"],
    "</a>; rel=prev; rel=next": [],
    '</a>; rel=next; anchor="/other"': [],
    "</a>; rel=nextish": [],
    "</a>": [],
    "</a>; rel": [],
    "</b>; rel=next;": ["/b"],
    "</b>;; rel=next": ["/b"],
    "</b>; rel=next,, ,": ["/b"],
    "</b>; rel=next, </b>; rel=next": ["/b"],
    "</b>; rel=next, </c>; rel=next": ["/b", "/c"],
    "<>; rel=next": [""],
    "": [],
}

UNREADABLE = {
    "/b; rel=next": [],
    "</b; rel=next": [],
    "nonsense": [],
    "</b>; rel=next nonsense": ["/b"],
    "</b>; rel=next, nonsense": ["/b"],
    "nonsense, </b>; rel=next": ["/b"],
    "</a>; rel=prev, /b; rel=next": [],
    '</a> rel="next"': [],
    '</a>; rel="prev" </b>; rel="next"': [],
    "=,<": [],
}


@pytest.mark.parametrize("header", READABLE)
def test_what_is_written_as_it_should_be_is_read(header: str) -> None:
    links = read_links(header)
    assert list(links.targets("next")) == READABLE[header]
    assert links.is_whole


@pytest.mark.parametrize("header", UNREADABLE)
def test_what_cannot_be_read_is_left_out_and_said(header: str) -> None:
    links = read_links(header)
    assert list(links.targets("next")) == UNREADABLE[header]
    assert not links.is_whole


def test_other_parameters_are_there_by_their_names_in_small_letters() -> None:
    [link] = read_links('</a>; Rel="prev"; Title="A \\\\ B"; title=c; crossorigin').links
    assert link.rels == {"prev"}
    assert link.parameters == {"title": "A \\ B", "crossorigin": ""}


@given(st.text(alphabet='<>;=,"\\ \taben/', max_size=40))
def test_every_text_comes_to_an_end(header: str) -> None:
    read_links(header)


@given(st.text(alphabet='<>;=,"\\ xe', max_size=20))
def test_a_good_link_in_front_is_found_whatever_follows(rest: str) -> None:
    assert "/b" in read_links(f"</b>; rel=next, {rest}").targets("next")


def test_a_long_header_is_read_in_one_go() -> None:
    assert len(read_links("</a>; rel=x, " * 20_000).links) == 20_000
    assert not read_links("<" * 100_000).is_whole
    for slow in ("<,", '</a>;x="\\",', "</a>;x=\\", '"\\', "</a>;", ";", '</a>;x="', "</a>;x"):
        assert not read_links(slow * 20_000 + '"').is_whole
