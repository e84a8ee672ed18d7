"""The table of scores: aligned, intervals beside values, the protocol once."""

from captioner.metrics.table import format_table
from captioner.types import Score


def test_a_line_a_metric_and_the_protocol_once() -> None:
    bleu = Score("BLEU-4", 20.25, (), "BLEU-4|tok:ptb|refs:5|variant:closest-length|version:1", (18.0, 22.5))
    cider = Score("CIDEr", 148.06, (), "CIDEr|tok:ptb|refs:5|variant:d|version:1")
    people = Score("CIDEr", 9.0, (), "CIDEr|tok:ptb|refs:4|variant:d|version:1")
    assert format_table({"greedy": (bleu, cider), "people": (people,)}).splitlines() == [
        "                     greedy  people",
        "BLEU-4  20.2 (18.0 to 22.5)",
        "CIDEr                 148.1     9.0",
        "protocol: tok:ptb|version:1",
        "  greedy: refs:5",
        "  people: refs:4",
        "  BLEU-4: variant:closest-length",
        "  CIDEr: variant:d",
        "in brackets: 95 % interval, bootstrap over pictures",
    ]


def test_a_protocol_in_words_is_named_too() -> None:
    true = Score("True", 93.0, (), "judged by the data set")
    assert "  True: judged by the data set" in format_table({"greedy": (true,)}).splitlines()
    assert format_table({}).strip() == ""
