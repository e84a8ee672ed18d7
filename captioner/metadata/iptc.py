"""A caption in an IPTC block: dataset 2:120, Caption-Abstract.

IPTC-NAA Information Interchange Model 4.2, chapter 1 for the form of datasets, 1.5 (d) for long ones. All other
datasets stay as they are, in their order. Knows nothing of the files that blocks are in.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.metadata.container import broken, number
from captioner.metadata.merging import merged

MAX_CAPTION_BYTES = 2000
"""What 2:120 holds at most: IIM 4.2, section 6."""
_MARKER = 0x1C
_CAPTION, _CHARACTER_SET = (2, 120), (1, 90)
_UTF_8 = b"\x1b%G"
_VERSION = b"\x00\x04"
_BINARY = {(1, 0), (2, 0), (2, 125), (2, 200), (2, 201), (2, 202)}  # numbers and pictures among the texts


@dataclass(frozen=True)
class _Dataset:
    """One dataset."""

    key: tuple[int, int]
    """Record and number."""
    value: bytes
    """What it says."""
    raw: bytes
    """All of its bytes."""

    @classmethod
    def of(cls, key: tuple[int, int], value: bytes) -> _Dataset:
        return cls(key, value, bytes((_MARKER, *key)) + len(value).to_bytes(2, "big") + value)


def caption_of(block: bytes) -> str:
    """The caption in a block, or nothing. Raises `MetadataError` when the block is broken."""
    return _caption(_datasets(block))


def with_caption(block: bytes | None, caption: str, merge: str) -> bytes | None:
    """The block with another caption, or a new one; the very same bytes when nothing changes.

    Texts of a block are all in one character set. A block without a mark for it becomes UTF-8 if its other texts are
    ASCII; else the caption is written in Latin-1, which is what readers take such blocks for. Captions that are too
    long end after the last whole character that fits.

    Returns:
        None for a caption that cannot be written without harm to what is there: one that does not fit the character
        set of the others, or one put before or behind a text that would be cut.

    Args:
        block: IIM datasets; None for none.
        caption: the text.
        merge: what becomes of a caption that is there, as for `merging.merged`.

    Raises:
        MetadataError: the block is broken.
        ConfigError: as `merging.merged`.
    """
    datasets = _datasets(block or b"")
    old = _caption(datasets)
    text = merged(old, caption, merge)
    if text == old:
        return block
    charset = _charset(datasets)
    try:
        value = text.encode(charset)
        kept = 0 if merge == "overwrite" else len(old.encode(charset))  # bytes that must not be cut
    except UnicodeEncodeError:
        return None
    if len(value) > MAX_CAPTION_BYTES:
        if kept > MAX_CAPTION_BYTES or (kept and merge == "prepend"):
            return None
        value = value[:MAX_CAPTION_BYTES].decode(charset, "ignore").encode(charset)
    before = [each.raw for each in datasets]
    after = [each.raw for each in _replaced(datasets, value, marks_utf_8=charset == "utf-8")]
    return block if before == after else b"".join(after)


def _datasets(block: bytes) -> list[_Dataset]:
    """All datasets; zeros behind the last one are padding.

    Raises `MetadataError` when there is anything else.
    """
    datasets: list[_Dataset] = []
    place = 0
    while place < len(block):
        if block[place] != _MARKER:
            if block[place:].strip(b"\0"):
                raise broken("the IPTC block has something that is no dataset")
            break
        key = number(block, place + 1, 1, "big"), number(block, place + 2, 1, "big")
        length, start = number(block, place + 3, 2, "big"), place + 5
        if length & 0x8000:  # the length of the length
            count = length & 0x7FFF
            if count > 8:
                raise broken("the IPTC block has a dataset of impossible length")
            length, start = number(block, start, count, "big"), start + count
        if start + length > len(block):
            raise broken("the IPTC block is cut short")
        datasets.append(_Dataset(key, block[start : start + length], block[place : start + length]))
        place = start + length
    return datasets


def _caption(datasets: list[_Dataset]) -> str:
    values = [each.value for each in datasets if each.key == _CAPTION]
    return "\n".join(_decoded(value) for value in values)


def _decoded(value: bytes) -> str:
    """What is valid UTF-8 is that, marked or not: by chance, other texts never are."""
    for charset in ("utf-8", "cp1252"):
        try:
            return value.decode(charset)
        except UnicodeDecodeError:
            pass
    return value.decode("latin-1")


def _charset(datasets: list[_Dataset]) -> str:
    """In what a caption is to be written: `utf-8`, `latin-1`, or `ascii`, which is safe in every other set."""
    marks = [each.value for each in datasets if each.key == _CHARACTER_SET]
    if marks:
        return "utf-8" if marks[0] == _UTF_8 else "ascii"
    others = [each for each in datasets if each.key[0] <= 2 and each.key not in (_CAPTION, *_BINARY)]
    return "utf-8" if all(each.value.isascii() for each in others) else "latin-1"


def _replaced(datasets: list[_Dataset], value: bytes, *, marks_utf_8: bool) -> list[_Dataset]:
    """The datasets with one caption, in its old place or else at the end of record 2."""
    caption = _Dataset.of(_CAPTION, value)
    here = [place for place, each in enumerate(datasets) if each.key == _CAPTION]
    if here:
        result = [caption if place == here[0] else each for place, each in enumerate(datasets) if place not in here[1:]]
    else:
        new = [caption]
        if not any(each.key[0] == 2 for each in datasets):
            new.insert(0, _Dataset.of((2, 0), _VERSION))  # without it a record is not valid
        place = sum(each.key[0] <= 2 for each in datasets)
        result = [*datasets[:place], *new, *datasets[place:]]
    if marks_utf_8 and not any(each.key == _CHARACTER_SET for each in datasets):
        new = [_Dataset.of(_CHARACTER_SET, _UTF_8)]
        if not any(each.key[0] == 1 for each in datasets):
            new.insert(0, _Dataset.of((1, 0), _VERSION))
        place = sum(each.key < _CHARACTER_SET for each in datasets)
        result = [*result[:place], *new, *result[place:]]
    return result
