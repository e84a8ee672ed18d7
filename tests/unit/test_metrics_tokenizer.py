"""Captions are cut as the reference cuts them: recorded tokens, and the cases where each rule bites."""

import json
from pathlib import Path

import pytest

from captioner.metrics.tokenizer import PUNCTUATION, tokenize

_GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", _GOLDEN["tokens"], ids=lambda case: case["caption"][:40])
def test_tokens_are_those_of_the_reference(case: dict) -> None:
    assert tokenize(case["caption"]) == case["tokens"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("", ""),
        (" \t\n ", ""),
        (". ? ! , : - -- ... ; ' ''", ""),
        ("A dog. A cat!", "a dog a cat"),
        ("a\ndog\r\nruns", "a dog runs"),
        ("cannot CANNOT cannots", "can not can not cannots"),
        ("it's its IT'S", "it 's its it 's"),
        ("don’t don't", "do n't do n't"),
        ("dogs' dog's", "dogs dog 's"),
        ("(a)", "-lrb- a -rrb-"),
        ("mr. fox sat.", "mr. fox sat"),
        ("no. 5, he said no.", "no. 5 he said no"),
        ("the Miss. river and a miss.", "the miss. river and a miss"),
        ("t-shirt a - b", "t-shirt a b"),
        ("🐕 dog\u200b!", "dog"),
    ],
)
def test_known_captions(caption: str, words: str) -> None:
    assert tokenize(caption) == words.split()


@pytest.mark.parametrize("case", _GOLDEN["tokens"], ids=lambda case: case["caption"][:40])
def test_tokens_are_lower_case_without_spaces_or_punctuation(case: dict) -> None:
    for token in tokenize(case["caption"].upper()):
        assert token
        assert token == token.lower()
        assert not any(character.isspace() for character in token)
        assert token not in PUNCTUATION


def test_captions_that_are_already_words_stay_as_they_are() -> None:
    words = ["two", "small", "boats", "lie", "on", "the", "sand", "near", "a", "red", "house"]
    assert tokenize(" ".join(words)) == words
    assert tokenize("  ".join(words) + " . ") == words


@pytest.mark.parametrize(
    "piece", ["  1", " " * 30 + "(", "a,", "a.", "a-", "a'", "a@", "<a ", "''", "a!b", ":(", "/a", "(555) ", '<a b="']
)
@pytest.mark.timeout(60)  # a second is plenty; a rule that backtracks without bound would need hours
def test_long_nonsense_comes_to_an_end(piece: str) -> None:
    assert "".join(tokenize(piece * 3000)) == "".join(tokenize(piece * 3000 + " "))


def test_the_width_of_spaces_does_not_matter_in_flickr8k() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "flickr8k" / "Flickr8k.token.txt"
    if not path.is_file():
        pytest.skip("the captions of Flickr8k are not in ../shared")
    captions = [line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(captions) > 30000
    for caption in captions[::10]:
        assert tokenize(caption) == tokenize(f" {caption.replace(' ', '  ')}\n")
