"""The rules that make words of captions, in several scripts, and what they promise for any text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.text.normalize import normalize, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black dog , and 2 cats .", ["a", "black", "dog", "and", "2", "cats"]),
        ("The man's T-shirt", ["the", "man's", "t-shirt"]),
        ("the man’s t‐shirt", ["the", "man's", "t-shirt"]),
        ("'tis the dogs' -- well--known - rock'n'roll", ["tis", "the", "dogs", "well", "known", "rock'n'roll"]),
        ("“quoted”… (in brackets) snake_case", ["quoted", "in", "brackets", "snake", "case"]),
        ("ＦＵＬＬ　ＷＩＤＴＨ ﬁre", ["full", "width", "fire"]),
        ("", []),
        (" ?!- ' ", []),
        ("I ❤️ dogs 👨‍👩‍👧!", ["i", "dogs"]),
        ("soft\u00adly \ufeffmarked\u200e left\u200bright", ["softly", "marked", "left", "right"]),
        ("Ein Mädchen fährt übers Straßenfest", ["ein", "mädchen", "fährt", "übers", "straßenfest"]),
        ("كَلْبٌ يَجْرِي، بسرعة", ["كَلْبٌ", "يَجْرِي", "بسرعة"]),
        ("लड़का गेंद से खेल रहा है।", ["लड़का", "गेंद", "से", "खेल", "रहा", "है"]),
        ("او می\u200cدود", ["او", "می\u200cدود"]),
        ("一只狗在草地上奔跑。两个人", ["一只狗在草地上奔跑", "两个人"]),
        ("Собака бежит по снегу!", ["собака", "бежит", "по", "снегу"]),
    ],
)
def test_known_captions(text: str, expected: list[str]) -> None:
    assert words(text) == [unicodedata.normalize("NFKC", word) for word in expected]


@pytest.mark.parametrize("text", ["Mädchen im Grünen", "Café Ångström", "한국어", "Ἑλλάς"])
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert words(decomposed) == words(text)


@pytest.mark.parametrize("token", ["<pad>", "<startseq>", "<endseq>", "<unk>", "＜endseq＞"])
def test_special_tokens_in_a_caption_are_ordinary_words(token: str) -> None:
    assert words(f"a dog {token}") == ["a", "dog", unicodedata.normalize("NFKC", token).strip("<>")]


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_any_text_gives_words_that_stay_as_they_are(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)
    found = words(text)
    assert words(" ".join(found)) == found
    for word in found:
        assert word.split() == [word]
        assert words(word) == [word]
        assert unicodedata.category(word[0])[0] in "LN"
        assert unicodedata.category(word[-1])[0] in "LNM"
