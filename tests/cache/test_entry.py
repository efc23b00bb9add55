"""Entries come back from a store as they went, and nothing else passes for one."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.entry import GENERATION_BYTES, Entry, pack, unpack

NUMBERS = st.floats(allow_nan=False)
ENTRIES = st.builds(
    Entry,
    value=st.binary(max_size=200),
    stored_at=NUMBERS,
    ttl_s=NUMBERS,
    stale_s=NUMBERS,
    generations=st.dictionaries(
        st.text(max_size=20),
        st.binary(min_size=GENERATION_BYTES, max_size=GENERATION_BYTES),
        max_size=4,
    ),
)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert unpack(pack(entry)) == entry


@given(st.binary(max_size=100))
def test_bytes_of_somebody_elses_are_no_entry_and_no_error(raw: bytes) -> None:
    assert unpack(raw) is None or raw[:3] == b"bc\x01"


@given(ENTRIES, st.data())
def test_a_piece_of_an_entry_is_no_error(entry: Entry, data: st.DataObject) -> None:
    raw = pack(entry)
    cut = data.draw(st.integers(0, len(raw)))
    found = unpack(raw[:cut])
    assert found is None or found.generations == entry.generations


@given(ENTRIES)
def test_another_version_is_not_read(entry: Entry) -> None:
    raw = pack(entry)
    assert unpack(raw[:2] + b"\x02" + raw[3:]) is None


def test_names_of_tags_may_be_any_text() -> None:
    entry = Entry(b"", 0, 1, 0, {"\ud800": bytes(16), "": bytes(16)})
    assert unpack(pack(entry)) == entry
