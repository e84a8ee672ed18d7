"""What is told of a data set: each thing that can be wrong with it is found, counted, named, and has its cure."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from captioner.datasets.collection import Collection
from captioner.datasets.examine import Severity, examine
from captioner.datasets.layout import Entry
from captioner.datasets.problems import Problem, ProblemKind
from captioner.images import BytesSource
from captioner.text.language import guess_language

ACROSS = "_across_splits"


@dataclass
class Memory:
    """A layout whose entries and pictures are in memory."""

    given: list
    pictures: dict
    label = "memory"
    looked_for = "nothing"
    files = ()
    reading = "as it is"

    def entries(self, report):
        for entry in self.given:
            if isinstance(entry, Problem):
                report(entry)
            else:
                yield entry

    def source(self, name, locator):
        return BytesSource(name, self.pictures[name]) if name in self.pictures else None


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))


def photograph(seed, quality=90):
    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC).save(content, "JPEG", quality=quality)
    return content.getvalue()


def healthy(count=40):
    """Entries in splits, and their pictures, with nothing to be said against them but that they are few."""
    animals = ("dog", "cat", "horse", "bird", "cow")
    given = [
        Entry(f"{seed}.jpg", (f"a {animals[seed % 5]} runs to house {seed}",), f"line {seed}", split)
        for seed in range(count)
        for split in ("train" if seed % 4 else "dev",)
    ]
    return given, {entry.name: photograph(seed) for seed, entry in enumerate(given)}


def found_in(given, pictures, *, look=True, **options):
    collection = Collection(Memory(given, pictures), "mine")
    if look:
        collection.look()
    examination = examine(collection, **options)
    return examination, {finding.code: finding for finding in examination.findings}


def test_a_healthy_data_set_is_described():
    examination, findings = found_in(*healthy())
    assert set(findings) == {"few_pictures"}
    assert examination.worst is Severity.NOTE
    assert examination.splits == {"train": 30, "dev": 10}
    assert (examination.pictures, examination.captions, examination.own_splits) == (40, 40, True)
    assert examination.captions_per_picture == (1, 1.0, 1)
    assert examination.words_per_caption == (6, 6.0, 6)
    assert examination.vocabulary == {1: 39, 2: 9, 3: 9, 5: 9, 10: 4}  # 30 numbers; 5 animals 6 times; 4 words always
    assert examination.samples[0] == ("1.jpg", ("a cat runs to house 1",))
    assert examination.language == "English"
    assert examination.to_json()["findings"][0]["severity"] == "note"


@pytest.mark.parametrize(
    ("more", "code", "severity", "example"),
    [
        (Entry("gone.jpg", ("a dog",), "line 99", "train"), "missing_picture", "warning", "gone.jpg"),
        (Entry("bad.jpg", ("a dog",), "line 99", "train"), "corrupt_picture", "warning", "bad.jpg"),
        (Entry("0.jpg", ("a dog in the snow",), "line 99", "train"), "in_two_splits", "warning", "0.jpg"),
        (Entry("mute.jpg", (), "line 99", "dev"), "missing_captions", "warning", "mute.jpg"),
        (Entry("0.jpg", ("…",), "line 99", "dev"), "empty_caption", "warning", "line 99"),
        (Problem("line 99", ProblemKind.MALFORMED_LINE, "odd"), "malformed_line", "warning", "line 99"),
        (Problem("line 99", ProblemKind.UNDECODABLE_BYTES, "odd"), "undecodable_bytes", "warning", "line 99"),
        (Entry("0.jpg", ("ein cafÃ© am See",), "line 99", "dev"), "encoding", "warning", "0.jpg"),
        (Entry("0.jpg", ("salt &amp; pepper",), "line 99", "dev"), "encoding", "warning", "0.jpg"),
        (Entry("0.jpg", ("a dog runs to house 0",), "line 99", "dev"), "duplicate_captions", "note", "0.jpg"),
        (Entry("0.jpg", ("very " * 30 + "long",), "line 99", "dev"), "long_captions", "note", "0.jpg"),
        (Entry("spare.jpg", ("a dog",), "line 99"), "unlisted", "warning", None),
        (Entry("copy.jpg", ("a dog",), "line 99", "train"), f"same_picture{ACROSS}", "warning", "0.jpg = copy.jpg"),
        (Entry("copy.jpg", ("a dog",), "line 99", "dev"), "same_picture", "note", "0.jpg = copy.jpg"),
        (Entry("near.jpg", ("a dog",), "line 99", "train"), f"near_duplicates{ACROSS}", "warning", "0.jpg = near.jpg"),
        (Entry("near.jpg", ("a dog",), "line 99", "dev"), "near_duplicates", "note", "0.jpg = near.jpg"),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_found_and_named(more, code, severity, example):
    given, pictures = healthy()
    pictures |= {"bad.jpg": b"no picture", "mute.jpg": photograph(998), "spare.jpg": photograph(999)}
    pictures |= {"copy.jpg": pictures["0.jpg"], "near.jpg": photograph(0, quality=50)}
    examination, findings = found_in([*given, more], pictures)
    assert set(findings) == {"few_pictures", code}
    finding = findings[code]
    assert (finding.severity, finding.count) == (severity, 1)
    assert finding.examples == (() if example is None else (example,))
    assert finding.remedy
    assert examination.worst == severity


def test_what_a_build_would_refuse_is_an_error():
    given, pictures = healthy()
    given += [Entry(f"gone {number}.jpg", ("a dog",), "line 99", "train") for number in range(10)]
    examination, findings = found_in(given, pictures)
    assert findings["missing_picture"].severity is findings["too_many_bad"].severity is Severity.ERROR
    assert examination.findings[0].severity is Severity.ERROR
    assert "--max-bad-share 0.21" in findings["too_many_bad"].remedy
    _, findings = found_in(given, pictures, max_bad_share=0.2)
    assert findings["missing_picture"].severity is Severity.WARNING

    _, findings = found_in([Entry("0.jpg", ("a dog",), "line 1", "test")], pictures)
    assert {"no_train", "no_dev"} <= set(findings)
    _, findings = found_in([Entry("gone.jpg", ("a dog",), "line 1")], {})
    assert {"no_train", "missing_picture"} <= set(findings)


def test_without_a_look_pictures_are_not_opened():
    given, pictures = healthy()
    pictures |= {"bad.jpg": b"no picture", "copy.jpg": pictures["0.jpg"]}
    given += [Entry(name, ("a dog",), "line 99", "train") for name in ("bad.jpg", "copy.jpg")]
    examination, findings = found_in(given, pictures, look=False)
    assert set(findings) == {"few_pictures"}
    assert examination.pictures == 42


def test_a_caption_of_many_pictures_is_named():
    given, pictures = healthy()
    given += [Entry(f"{number}.jpg", ("a photo",), "line 99") for number in range(12)]
    _, findings = found_in(given, pictures)
    assert findings["frequent_captions"].examples == ("a photo",)
    assert "one for 12" in findings["frequent_captions"].text


@pytest.mark.parametrize(
    ("language", "captions"),
    [
        ("English", ["A man in a red shirt is riding a bike .", "Two dogs play in the snow ."]),
        ("German", ["Ein Mann in einem roten Hemd fährt Fahrrad.", "Zwei Hunde spielen im Schnee."]),
        ("French", ["Un homme en chemise rouge fait du vélo dans la rue.", "Deux chiens jouent dans la neige."]),
        ("Spanish", ["Un hombre con una camisa roja monta en bicicleta.", "Dos perros juegan en la nieve."]),
        ("Polish", ["Mężczyzna w czerwonej koszuli jedzie na rowerze.", "Dwa psy bawią się na śniegu."]),
        ("Russian", ["Мужчина в красной рубашке едет на велосипеде.", "Две собаки играют в снегу."]),
        ("Arabic", ["رجل يرتدي قميصا أحمر يركب دراجة", "كلبان يلعبان في الثلج"]),
        ("Chinese", ["一个穿红衬衫的男人骑着自行车。", "两只狗在雪地里玩耍。"]),
        ("Japanese", ["赤いシャツを着た男性が自転車に乗っている。", "雪の中で遊ぶ二匹の犬。"]),
        ("Korean", ["빨간 셔츠를 입은 남자가 자전거를 타고 있다."]),
        ("unknown", ["", "12 34"]),
        ("unknown", ["xq zzv krrp", "vrrt qwk"]),
    ],
)
def test_the_language_of_captions_is_guessed(language, captions):
    assert guess_language(captions) == language


def test_lines_in_another_encoding_are_the_first_error_and_name_their_file():
    given, pictures = healthy(2)
    lost = [Problem(f"list.csv line {n}", ProblemKind.UNDECODABLE_BYTES, "byte 3 is not UTF-8") for n in range(30)]
    examination, _ = found_in([*given, *lost], pictures)
    first = examination.findings[0]
    assert (first.code, first.severity, first.count) == ("undecodable_bytes", Severity.ERROR, 30)
    assert first.remedy.endswith("iconv -f WINDOWS-1252 -t UTF-8 'list.csv' > NEW")
