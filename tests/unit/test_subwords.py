"""Pieces of words: known merges, round trips in several scripts, the file on disk, and what is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from captioner.errors import MissingDependencyError, VocabularyError
from captioner.text.choice import build_vocabulary
from captioner.text.normalize import words
from captioner.text.subwords import START, SubwordVocabulary
from captioner.text.vocabulary import SPECIAL_TOKENS, Vocabulary

CHINESE = ["一个红色的圆形在两个蓝色的星形的左边。", "一个红色的圆形", "两个蓝色的星形，在一个红色的圆形的上面"] * 3
GERMAN = ["Ein roter Kreis ist links von zwei blauen Sternen", "Zwei kleine blaue Sterne"] * 3
ARABIC = ["دائرة حمراء على يسار نجمتين زرقاوين", "نجمتان صغيرتان"] * 3
THAI = ["วงกลมสีแดงอยู่ทางซ้ายของดาวสีน้ำเงิน", "ดาวสีน้ำเงินสองดวง"] * 3
ALL = {"Chinese": CHINESE, "German": GERMAN, "Arabic": ARABIC, "Thai": THAI}


def document(**changes):
    """A good vocabulary document with some fields replaced."""
    tokens = [*SPECIAL_TOKENS, "a", "b", "ab", START, f"{START}ab"]
    return {"format": 1, "rules": "subwords-v1", "tokens": tokens, "merges": ["a b", f"{START} ab"], **changes}


def test_the_most_frequent_pairs_are_merged_first() -> None:
    # By hand: "e r" occurs 7 times, what makes "▁new" and "▁newer" 4 times, what makes "▁her" and "▁low" 3 times.
    vocabulary = SubwordVocabulary.build(["low"] * 3 + ["newer"] * 4 + ["her"] * 3, 3)
    pieces = ["er", f"{START}new", f"{START}newer", f"{START}her", f"{START}low"]
    places = [vocabulary.words.index(piece) for piece in pieces]
    assert places[:3] == sorted(places[:3])
    assert vocabulary.merges[0] == "e r"
    assert vocabulary.encode("Lower, newer") == [places[4] + 4, places[0] + 4, places[2] + 4]
    assert vocabulary.encode("low low") == [vocabulary.words.index(f"{START}low") + 4] * 2


@pytest.mark.parametrize("captions", ALL.values(), ids=ALL.keys())
def test_what_is_encoded_is_decoded_again(captions: list[str]) -> None:
    vocabulary = SubwordVocabulary.build(captions, 1)
    joiner = "" if captions is CHINESE else " "
    for caption in captions:
        assert vocabulary.decode(vocabulary.encode(caption)) == joiner.join(words(caption))


@given(st.text(alphabet="abcäß한🐕 .-'éक्षا中文", max_size=40))
def test_words_come_back_whatever_they_are_of(text: str) -> None:
    vocabulary = SubwordVocabulary.build([text, "a word"], 1)
    assert vocabulary.decode(vocabulary.encode(text)).replace(" ", "") == "".join(words(text))
    assert vocabulary.unk not in vocabulary.encode(text)


def test_no_sentence_becomes_a_piece_where_there_are_no_spaces() -> None:
    vocabulary = SubwordVocabulary.build(CHINESE * 100, 1)
    assert max(map(len, vocabulary.words)) == 4
    assert max(map(len, SubwordVocabulary.build(GERMAN, 1).words)) > 4


def test_characters_that_are_not_known_are_one_unknown_piece() -> None:
    vocabulary = SubwordVocabulary.build(GERMAN, 1)
    ids = vocabulary.encode("zwei 龍龍龍 sterne")
    assert ids.count(vocabulary.unk) == 1
    assert vocabulary.decode(ids) == "zwei sterne"


def test_rare_characters_and_pieces_stay_out() -> None:
    vocabulary = SubwordVocabulary.build(["ab ab ab", "aq"], 2)
    assert not any("q" in piece for piece in vocabulary.words)
    with pytest.raises(VocabularyError, match="no character occurs 9 times"):
        SubwordVocabulary.build(["ab"], 9)
    with pytest.raises(VocabularyError, match="raise --vocabulary-size"):
        SubwordVocabulary.build(CHINESE, 1, size=8)


@pytest.mark.parametrize("captions", ALL.values(), ids=ALL.keys())
def test_the_order_of_the_captions_does_not_matter(captions: list[str]) -> None:
    shuffled = captions.copy()
    random.Random(1).shuffle(shuffled)
    assert shuffled != captions
    assert SubwordVocabulary.build(shuffled, 1) == SubwordVocabulary.build(captions, 1)


def test_the_file_gives_the_same_vocabulary_back(tmp_path: Path) -> None:
    vocabulary = SubwordVocabulary.build(CHINESE, 1)
    vocabulary.save(tmp_path / "vocabulary.json")
    again = Vocabulary.load(tmp_path / "vocabulary.json")
    assert again == vocabulary
    assert again.fingerprint == vocabulary.fingerprint
    assert again.encode(CHINESE[0]) == vocabulary.encode(CHINESE[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merges": "a b"}, "field merges is not a list"),
        ({"merges": ["a c"]}, "field merges has 'a c'"),
        ({"merges": ["b a"]}, "field merges has 'b a'"),
        ({"merges": [["a", "b"]]}, "field merges has"),
        ({"merges": ["ab"]}, "field merges has 'ab'"),
        ({"rules": "words-v1"}, "field merges goes with"),
        ({"tokens": [*SPECIAL_TOKENS, "a", "a"]}, "field tokens has 'a' twice"),
    ],
)
def test_a_wrong_document_is_refused_by_the_name_of_its_field(changes: dict, message: str) -> None:
    assert Vocabulary.from_json(document()).encode("ab") == [8]
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_json(document(**changes))


def test_more_captions_bring_new_characters_and_move_nothing() -> None:
    old = SubwordVocabulary.build(GERMAN, 1)
    new = old.extended(["Ägypten", "Ägypten", "ñ"], 2)
    assert new.words[: len(old.words)] == old.words
    assert set(new.words) - set(old.words) == {"ä", "g", "y", "p"} - set(old.words)
    assert new.encode(GERMAN[0]) == old.encode(GERMAN[0])
    assert new.decode(new.encode("Ägypten")) == "ägypten"


@pytest.mark.parametrize(
    ("captions", "unit"),
    [
        (CHINESE, "pieces of words"),
        (THAI, "pieces of words"),
        (GERMAN, "words"),
        (ARABIC, "words"),
        ([*GERMAN * 9, "龍"], "words"),
        ([f"w{number}" for number in range(50_001)], "pieces of words"),
    ],
    ids=["Chinese", "Thai", "German", "Arabic", "a stray character", "very many words"],
)
def test_pieces_are_chosen_where_spaces_make_no_words(captions: list[str], unit: str) -> None:
    assert build_vocabulary(captions, "auto", 1, 8000).unit == unit
    assert build_vocabulary(captions[:9], "words", 1, 8000).unit == "words"
    assert build_vocabulary(captions[:9], "subwords", 1, 8000).unit == "pieces of words"


_WITHOUT_LIBRARY = """
import json, sys
sys.modules["tokenizers"] = None
from captioner.text.vocabulary import Vocabulary
vocabulary = Vocabulary.load(__import__("pathlib").Path(sys.argv[1]))
print(json.dumps(vocabulary.decode(json.loads(sys.argv[2]))))
vocabulary.encode("a")
"""


def test_captions_are_written_without_the_library(tmp_path: Path) -> None:
    vocabulary = SubwordVocabulary.build(CHINESE, 1)
    vocabulary.save(tmp_path / "vocabulary.json")
    arguments = [str(tmp_path / "vocabulary.json"), json.dumps(vocabulary.encode(CHINESE[0]))]
    ended = subprocess.run([sys.executable, "-c", _WITHOUT_LIBRARY, *arguments], capture_output=True, text=True)
    assert json.loads(ended.stdout) == "".join(words(CHINESE[0]))
    assert ended.stderr.strip().endswith("pip install 'captioner[subwords]'")
    assert MissingDependencyError.__name__ in ended.stderr
