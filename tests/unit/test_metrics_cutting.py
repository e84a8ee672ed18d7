"""Characters are what is counted where words have no spaces; everything else is cut as before."""

import pytest

from captioner.metrics.base import CaptionPairs
from captioner.metrics.cutting import Cutting, cutting_for
from captioner.metrics.evaluate import evaluate
from captioner.metrics.framing import leave_one_out
from captioner.metrics.tokenizer import tokenize
from captioner.text.scripts import words_or_characters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一只狗在跑。", "一 只 狗 在 跑"),
        ("两只狗，ＡＢ3只猫！", "两 只 狗 ab3 只 猫"),
        ("「犬」が走る・", "犬 が 走 る"),
        ("がぎ", "が ぎ"),
        ("วิ่ง", "วิ่ ง"),
        ("A dog's 狗", "a dog 's 狗"),
        ("", ""),
    ],
)
def test_every_character_is_a_word_where_there_are_no_spaces(text, words):
    assert Cutting.CHARACTERS(text) == words.split()


def test_words_or_characters():
    assert words_or_characters("A man's dog, 2 cats") == ["a", "man's", "dog", "2", "cats"]
    assert words_or_characters("两只AB狗 วิ่ง") == ["两", "只", "ab", "狗", "วิ่", "ง"]


def test_the_references_decide_for_the_whole_set():
    assert cutting_for(["一只狗", "a dog"]) is Cutting.CHARACTERS
    assert cutting_for(["Two men and a sign with 狗 on it", "ein Hund"]) is Cutting.PTB
    assert cutting_for(["한국어 문장", "Ελληνικά", "مرحبا"]) is Cutting.PTB
    assert cutting_for([]) is Cutting.PTB


def test_scores_of_chinese_count_characters():
    references = {"1": ["一只狗在跑", "狗在草地上跑"], "2": ["两只猫"]}
    scores = {score.name: score for score in evaluate({"1": "一只狗在跑。", "2": "两只狗"}, references)}
    assert "|tok:ptb+chars|" in scores["CIDEr"].signature
    assert scores["BLEU-1"].per_image == pytest.approx((100.0, 200 / 3), abs=1e-6)
    assert scores["BLEU-4"].value > 0


def test_other_scripts_are_scored_as_ever():
    references = {"1": ["A dog's running.", "the dog runs"], "2": ["zwei Hunde (im Gras)"]}
    pairs = CaptionPairs.from_texts({"1": "a dog", "2": "zwei Hunde"}, references)
    assert pairs.predictions == (("a", "dog"), ("zwei", "hunde"))
    assert pairs.references.words == tuple(tuple(tuple(tokenize(t)) for t in texts) for texts in references.values())
    assert "|tok:ptb|" in pairs.signature("CIDEr", "d")


def test_what_is_put_beside_the_same_references_is_cut_alike():
    pairs = CaptionPairs.from_texts({"1": "一只狗"}, {"1": ["一只狗", "狗"]})
    assert pairs.cut(["一只a"]) == [("一", "只", "a")]
    assert pairs.with_predictions(pairs.cut(["狗"])).signature("BLEU", "").split("|")[1] == "tok:ptb+chars"
    assert {rounds.references.cutting for rounds in leave_one_out(pairs.references)} == {Cutting.CHARACTERS}
