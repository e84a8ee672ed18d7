"""No message can do anything to a terminal."""

import sys
import unicodedata

import pytest

from captioner.errors import BundleError, CaptionerError, printable


def test_control_codes_line_breaks_and_stray_bytes_become_escapes():
    assert printable("a\x1b[31m\r\nb\x00\x9b\u2028\udcff") == r"a\x1b[31m\r\nb\x00\x9b\u2028\udcff"
    assert printable("gpj.\u202edog") == r"gpj.\u202edog"  # would be shown as "god.jpg"


@pytest.mark.parametrize(
    "text", ["", "photo 1.jpg", "dog \N{DOG FACE}é.png", "a\u00a0b", "C:\\new\\x.png", "日本語", "שלום"]
)
def test_everything_else_stays_as_it_is(text):
    assert printable(text) == text


def test_whatever_the_character_the_result_is_safe_and_stays_so():
    for number in range(sys.maxunicode + 1):
        shown = printable(chr(number))
        assert len(shown.splitlines()) == 1
        assert all(unicodedata.category(each) not in ("Cc", "Cs", "Zl", "Zp") for each in shown)
        assert printable(shown) == shown


@pytest.mark.parametrize("kind", [CaptionerError, BundleError])
def test_an_error_carries_one_line_whatever_it_is_told(kind):
    error = kind("cannot read\n\x1b]0;owned\x07", code="odd")
    assert error.message == str(error) == r"cannot read\n\x1b]0;owned\x07"
    assert error.code == "odd"
