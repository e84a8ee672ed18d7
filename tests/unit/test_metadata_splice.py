"""captioner.metadata.splice and merging: changes that can be undone, and what becomes of old captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.errors import ConfigError, MetadataError
from captioner.metadata.merging import merged
from captioner.metadata.splice import Splice, apply, inverse


@st.composite
def changes(draw):
    data = draw(st.binary(max_size=60))
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pairs = zip(places[::2], places[1::2], strict=False)
    return data, [Splice(start, end, draw(st.binary(max_size=9))) for start, end in pairs]


@given(changes())
def test_what_is_undone_is_the_old_file_to_the_bit(case):
    data, splices = case
    new = apply(data, splices)
    assert apply(new, inverse(data, splices)) == data
    assert len(new) == len(data) + sum(splice.growth for splice in splices)


def test_splices_replace_insert_and_remove():
    splices = [Splice(0, 0, b"<"), Splice(1, 3, b""), Splice(3, 4, b"DD"), Splice(6, 6, b">")]
    assert apply(b"abcdef", splices) == b"<aDDef>"
    assert inverse(b"abcdef", splices)[1] == Splice(2, 2, b"bc")


@pytest.mark.parametrize("pairs", [[(0, 7)], [(3, 2)], [(-1, 2)], [(2, 4), (3, 5)], [(4, 5), (1, 2)]])
def test_splices_of_another_file_are_refused(pairs):
    splices = [Splice(*pair, b"x") for pair in pairs]
    for refusing in (apply, inverse):
        with pytest.raises(MetadataError, match="do not fit the file"):
            refusing(b"abcdef", splices)


@pytest.mark.parametrize(
    ("old", "new", "merge", "expected"),
    [
        ("old", "new", "overwrite", "new"),
        ("old", "new", "append", "old\nnew"),
        ("old", "new", "prepend", "new\nold"),
        ("", "new", "append", "new"),
        (" \n", "new", "prepend", "new"),
        ("old\nnew", "new", "append", "old\nnew"),
        ("old\r\nnew\r\nx", "new", "prepend", "old\r\nnew\r\nx"),
        ("a\nb\nc", "a\nb", "append", "a\nb\nc"),
        ("brand new", "new", "append", "brand new\nnew"),  # part of a line is no line
    ],
)
def test_merging(old, new, merge, expected):
    assert merged(old, new, merge) == expected
    assert merged(expected, new, merge) == expected


def test_what_cannot_be_merged_is_said():
    with pytest.raises(ConfigError, match="overwrite, append, prepend"):
        merged("old", "new", "replace")
    with pytest.raises(ConfigError, match="empty"):
        merged("old", " \n", "overwrite")
    for character in ("\0", "\x1b", "\ud800", "\ufffe"):
        with pytest.raises(MetadataError, match="which metadata cannot hold"):
            merged("old", f"a{character}b", "append")
