"""Words to ids and back, the file on disk, and every way in which that file may be wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.errors import VocabularyError
from captioner.text import vocabulary as module
from captioner.text.normalize import words
from captioner.text.vocabulary import Vocabulary

CAPTIONS = ["A dog runs.", "a dog , a cat", "The cat's dog", "a bird"]
SPECIAL = ["<pad>", "<startseq>", "<endseq>", "<unk>"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS, min_count=1)


def document(**changes: Any) -> dict[str, Any]:
    """A good vocabulary document with some fields replaced."""
    return {"format": 1, "rules": "words-v1", "tokens": [*SPECIAL, "dog", "cat"], **changes}


def test_words_are_ordered_by_count_then_alphabetically(vocabulary: Vocabulary) -> None:
    assert vocabulary.words == ("a", "dog", "bird", "cat", "cat's", "runs", "the")
    assert len(vocabulary) == 11


def test_the_order_of_the_captions_does_not_matter(vocabulary: Vocabulary) -> None:
    shuffled = CAPTIONS.copy()
    random.Random(1).shuffle(shuffled)
    assert shuffled != CAPTIONS
    again = Vocabulary.build(iter(shuffled), min_count=1)
    assert again == vocabulary
    assert again.fingerprint == vocabulary.fingerprint


def test_rare_words_stay_out(vocabulary: Vocabulary) -> None:
    assert Vocabulary.build(CAPTIONS, min_count=3).words == ("a", "dog")


def test_special_tokens_have_four_ids_of_their_own(vocabulary: Vocabulary) -> None:
    special = vocabulary.special
    assert (special.pad, special.bos, special.eos, special.unk) == (0, 1, 2, 3)
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert min(vocabulary.encode(" ".join(vocabulary.words))) == 4


def test_encode_has_words_only_and_knows_what_it_does_not_know(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("The dog, a ZEBRA!") == [10, 5, 4, vocabulary.unk]
    assert vocabulary.encode("?!") == []


@pytest.mark.parametrize("token", SPECIAL)
def test_special_tokens_in_captions_never_become_special_ids(token: str) -> None:
    vocabulary = Vocabulary.build([f"a dog {token}"], min_count=1)
    assert vocabulary.words == tuple(sorted(["a", "dog", token.strip("<>")]))
    assert min(vocabulary.encode(f"a {token} dog")) == 4


def test_decode_leaves_special_tokens_out(vocabulary: Vocabulary) -> None:
    assert vocabulary.decode([1, 4, 5, 3, 9, 2, 0, 0]) == "a dog runs"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("token", [-1, 11, 10**9])
def test_decode_refuses_ids_out_of_range(vocabulary: Vocabulary, token: int) -> None:
    with pytest.raises(VocabularyError, match=rf"token id {token} is out of range.*0 to 10"):
        vocabulary.decode([4, token])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(max_size=40), min_size=1))
def test_what_was_built_from_captions_gives_their_words_back(captions: list[str]) -> None:
    if not any(words(caption) for caption in captions):
        with pytest.raises(VocabularyError, match="no words in the training captions"):
            Vocabulary.build(captions, min_count=1)
        return
    vocabulary = Vocabulary.build(captions, min_count=1)
    for caption in captions:
        ids = vocabulary.encode(caption)
        assert vocabulary.decode(ids) == " ".join(words(caption))
        assert vocabulary.encode(vocabulary.decode(ids)) == ids
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize(
    ("captions", "min_count", "message"),
    [
        ([], 1, "no words in the training captions; check"),
        (["...", ""], 1, "no words in the training captions; check"),
        (["a dog", "a cat"], 3, "no word occurs 3 times .*lower --min-count"),
    ],
)
def test_an_empty_vocabulary_is_refused_with_advice(captions: list[str], min_count: int, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.build(captions, min_count)


def test_the_file_gives_the_same_vocabulary_back(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build(["Ein Mädchen", "كَلْبٌ يَجْرِي", "一只狗", "می\u200cدود"], min_count=1)
    path = tmp_path / "vocabulary.json"
    path.write_text("an older file", encoding="utf-8")
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert Vocabulary.load(path).encode("MÄDCHEN") == vocabulary.encode("mädchen") != [vocabulary.unk]
    assert list(tmp_path.iterdir()) == [path]
    assert '"mädchen"' in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8"))["rules"] == "words-v1"


def test_the_fingerprint_tells_vocabularies_apart(vocabulary: Vocabulary) -> None:
    others = [
        Vocabulary((*vocabulary.words, "more")),
        Vocabulary(vocabulary.words[::-1]),
        Vocabulary(vocabulary.words[:-1]),
    ]
    prints = {each.fingerprint for each in [vocabulary, *others]}
    assert len(prints) == 4
    assert all(len(each) == 64 and int(each, 16) for each in prints)


def test_the_fingerprint_stays_the_same_between_releases() -> None:
    """Bundles hold it: a change here makes every bundle that was ever written unreadable."""
    expected = "74cd3d41836903ccab651bda86837080b1c7636db8d589009cbb784788cfd413"
    assert Vocabulary(("dog", "mädchen")).fingerprint == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "JSON object with the fields format, rules and tokens"),
        ({"format": 1, "tokens": []}, "JSON object with the fields"),
        (document(extra=1), "JSON object with the fields"),
        (document(format=2), "field format is 2, newer .*upgrade captioner"),
        (document(format=0), "field format is 0"),
        (document(format=True), "field format is True"),
        (document(format="1"), "field format is '1'"),
        (document(rules="words-v9"), "field rules is 'words-v9'.*expected 'words-v1'"),
        (document(rules=["words-v1"]), "field rules"),
        (document(tokens={"dog": 1}), "field tokens is not a list"),
        (document(tokens=["dog", "cat"]), "field tokens does not begin with <pad> <startseq> <endseq> <unk>"),
        (document(tokens=["<startseq>", "<pad>", "<endseq>", "<unk>", "dog"]), "field tokens does not begin"),
        (document(tokens=[["<pad>"], "<startseq>", "<endseq>", "<unk>", "dog"]), "field tokens does not begin"),
        (document(tokens=SPECIAL), "field tokens has no words"),
        (document(tokens=[*SPECIAL, "dog", "cat", "dog"]), "field tokens has 'dog' twice"),
        (document(tokens=[*SPECIAL, "dog", "<unk>"]), "field tokens has '<unk>' twice"),
        (document(tokens=[*SPECIAL, ""]), "field tokens has '', which is not a word"),
        (document(tokens=[*SPECIAL, "two words"]), "field tokens has 'two words', which is not a word"),
        (document(tokens=[*SPECIAL, "bell\x07"]), "which is not a word"),
        (document(tokens=[*SPECIAL, "half\ud800"]), "which is not a word"),
        (document(tokens=[*SPECIAL, 7]), "field tokens has 7, which is not a word"),
        (document(tokens=[*SPECIAL, ["dog"]]), "which is not a word"),
    ],
)
def test_a_wrong_document_is_refused_by_the_name_of_its_field(data: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_json(data)
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(VocabularyError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in caught.value.message


def test_too_many_tokens_are_refused() -> None:
    with pytest.raises(VocabularyError, match="field tokens has 1000001 entries; at most 1000000"):
        Vocabulary.from_json(document(tokens=[*SPECIAL, *map(str, range(999_997))]))


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vocabulary.json"
    Vocabulary(("dog",)).save(path)
    monkeypatch.setattr(module, "_MAX_BYTES", 50)
    with pytest.raises(VocabularyError, match="bytes; at most 50"):
        Vocabulary.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format": 1', b"[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(VocabularyError, match="is damaged: it is not JSON"):
        Vocabulary.load(path)


def test_a_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"cannot read the vocabulary .*No such file"):
        Vocabulary.load(tmp_path / "vocabulary.json")


def test_a_failed_save_leaves_the_old_file_and_no_other(
    tmp_path: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary.save(path)

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disk)
        with pytest.raises(VocabularyError, match=r"cannot write the vocabulary .*No space left"):
            Vocabulary(("zebra",)).save(path)
    assert Vocabulary.load(path) == vocabulary
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder_is_our_error(tmp_path: Path, vocabulary: Vocabulary) -> None:
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(VocabularyError, match="cannot write the vocabulary"):
            vocabulary.save(tmp_path / folder / "vocabulary.json")
