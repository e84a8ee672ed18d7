"""Scenes in German, Arabic and Chinese: sentences as people write them, true and false, translations of one another."""

import hashlib
import re
import unicodedata
from itertools import islice

import pytest

from captioner.datasets.registry import open_dataset
from captioner.datasets.scenes import ScenesDataset
from captioner.datasets.scenes_grammar import LANGUAGES, is_true, true_captions
from captioner.datasets.scenes_world import COLOURS, SHAPES, Scene, SceneObject
from captioner.errors import DataError
from captioner.text.normalize import words

GOLDEN = "80c044f6d61b6319fe13fd11fbe0f4ea5c46568a2509baf66f9526cc09ffb2f6"
"""What 200 pictures had before there were other languages."""


def item(size, colour, shape, x, y):
    return SceneObject(shape, colour, size, x, y)


SIDE_BY_SIDE = Scene((item("small", "red", "circle", 0.2, 0.5), item("large", "blue", "star", 0.7, 0.5)))
TWO_AND_ONE = Scene(
    (
        item("small", "green", "triangle", 0.2, 0.2),
        item("small", "green", "triangle", 0.8, 0.2),
        item("large", "black", "square", 0.5, 0.75),
    ),
    background="pink",
)
TWO_STARS = Scene(
    (item("large", "purple", "circle", 0.5, 0.2), *(item("small", "yellow", "star", x, 0.7) for x in (0.3, 0.7)))
)
THREE = Scene(tuple(item("small", "blue", "star", x, 0.5) for x in (0.2, 0.5, 0.8)), background="brown")

TRUE = [
    ("de", SIDE_BY_SIDE, "Ein roter Kreis und ein blauer Stern."),
    ("de", SIDE_BY_SIDE, "es gibt einen kleinen roten Kreis und einen großen blauen Stern"),
    ("de", SIDE_BY_SIDE, "ein Bild von einem roten Kreis und einem blauen Stern"),
    ("de", SIDE_BY_SIDE, "ein roter Kreis links von einem blauen Stern"),
    ("de", SIDE_BY_SIDE, "ein großer blauer Stern ist rechts von einem roten Kreis"),
    ("de", SIDE_BY_SIDE, "ein roter Kreis ist kleiner als ein blauer Stern"),
    ("de", SIDE_BY_SIDE, "zwei Formen auf einem weißen Hintergrund"),
    ("de", TWO_AND_ONE, "zwei kleine grüne Dreiecke sind über einem schwarzen Quadrat"),
    ("de", TWO_AND_ONE, "ein großes schwarzes Quadrat unter zwei grünen Dreiecken"),
    ("de", TWO_AND_ONE, "genau zwei grüne Dreiecke und genau ein schwarzes Quadrat"),
    ("de", TWO_AND_ONE, "zwei grüne Formen auf einem rosa Hintergrund"),
    ("de", THREE, "drei blaue Sterne"),
    ("ar", SIDE_BY_SIDE, "دائرة حمراء ونجمة زرقاء."),
    ("ar", SIDE_BY_SIDE, "هناك دائرة حمراء صغيرة ونجمة زرقاء كبيرة"),
    ("ar", SIDE_BY_SIDE, "صورة لدائرة حمراء ونجمة زرقاء"),
    ("ar", SIDE_BY_SIDE, "دائرة حمراء على يسار نجمة زرقاء"),
    ("ar", SIDE_BY_SIDE, "توجد نجمة زرقاء على يمين دائرة حمراء"),
    ("ar", SIDE_BY_SIDE, "دائرة حمراء أصغر من نجمة زرقاء"),
    ("ar", SIDE_BY_SIDE, "شكلان على خلفية بيضاء"),
    ("ar", TWO_AND_ONE, "مثلثان أخضران فوق مربع أسود"),
    ("ar", TWO_AND_ONE, "يوجد مربع أسود تحت مثلثين أخضرين صغيرين"),
    ("ar", TWO_AND_ONE, "ثلاثة أشكال على خلفية وردية"),
    ("ar", TWO_AND_ONE, "مثلثان أخضران اثنان ومربع أسود واحد"),
    ("ar", TWO_STARS, "دائرة بنفسجية فوق نجمتين صفراوين"),
    ("ar", TWO_STARS, "هناك نجمتان صفراوان صغيرتان"),
    ("ar", TWO_STARS, "صورة لنجمتين صفراوين"),
    ("ar", THREE, "ثلاث نجمات زرقاء صغيرة على خلفية بنية"),
    ("zh", SIDE_BY_SIDE, "一个红色的圆形和一颗蓝色的星星。"),
    ("zh", SIDE_BY_SIDE, "有一个红色的小圆形和一颗蓝色的大星星"),
    ("zh", SIDE_BY_SIDE, "一个红色的圆形 在 一颗蓝色的星星的左边"),
    ("zh", SIDE_BY_SIDE, "一个红色的圆形的右边有一颗蓝色的星星"),
    ("zh", SIDE_BY_SIDE, "一颗蓝色的星星比一个红色的圆形大"),
    ("zh", SIDE_BY_SIDE, "两个图形在白色的背景上"),
    ("zh", TWO_AND_ONE, "两个绿色的小三角形在一个黑色的正方形的上面"),
    ("zh", TWO_AND_ONE, "绿色的三角形有两个，黑色的正方形有一个"),
    ("zh", THREE, "棕色的背景上有三颗蓝色的星星"),
]
FALSE = [
    ("de", SIDE_BY_SIDE, "ein roter Kreis rechts von einem blauen Stern"),
    ("de", SIDE_BY_SIDE, "ein rotes Kreis und ein blauer Stern"),  # grammar
    ("de", SIDE_BY_SIDE, "ein roter Kreis links von ein blauer Stern"),
    ("de", SIDE_BY_SIDE, "ein roter Kreis ist größer als ein blauer Stern"),
    ("de", TWO_AND_ONE, "ein grünes Dreieck"),  # which one?
    ("de", TWO_AND_ONE, "zwei schwarze Quadrate"),
    ("ar", SIDE_BY_SIDE, "دائرة أحمر"),
    ("ar", SIDE_BY_SIDE, "دائرة زرقاء ونجمة حمراء"),
    ("ar", TWO_STARS, "دائرة بنفسجية فوق نجمتان صفراوان"),  # case
    ("ar", THREE, "ثلاثة نجمات زرقاء"),  # gender of the number
    ("ar", THREE, "نجمتان زرقاوان"),
    ("zh", SIDE_BY_SIDE, "一个红色的圆形在一颗蓝色的星星的右边"),
    ("zh", SIDE_BY_SIDE, "两个红色的圆形"),
    ("zh", THREE, "三个蓝色的星星"),  # measure word
    ("zh", SIDE_BY_SIDE, "a red circle and a blue star"),
]


@pytest.mark.parametrize(("code", "scene", "caption"), TRUE)
def test_what_is_so_is_true(code, scene, caption):
    assert is_true(caption, scene, LANGUAGES[code])


@pytest.mark.parametrize(("code", "scene", "caption"), FALSE)
def test_what_is_not_so_or_not_so_said_is_false(code, scene, caption):
    assert not is_true(caption, scene, LANGUAGES[code])


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_caption_is_true_of_its_own_picture_and_seldom_of_another(code):
    dataset = ScenesDataset.open(f"scenes:{code}")
    records = list(islice(dataset.records("train"), 60))
    pairs = [(record.image_id, other) for record, other in zip(records, records[1:] + records[:1], strict=True)]
    for record in records:
        assert len(set(record.captions)) == 5
        assert all(dataset.is_true(record.image_id, caption) for caption in record.captions)
        assert len(true_captions(record.source.scene, LANGUAGES[code])) >= 10
    false = sum(not dataset.is_true(image_id, other.captions[0]) for image_id, other in pairs)
    assert false > 50


@pytest.mark.parametrize("code", LANGUAGES)
def test_captions_survive_the_cutting_into_words(code):
    language, dataset = LANGUAGES[code], ScenesDataset.open(f"scenes:{code}")
    for record in islice(dataset.records("novel"), 40):
        for caption in record.captions:
            assert unicodedata.is_normalized("NFC", caption)
            assert language.has_spaces or " " not in caption
            assert dataset.is_true(record.image_id, " ".join(words(caption)))


@pytest.mark.parametrize("code", ["de", "ar", "zh"])
def test_every_colour_and_shape_has_a_word_of_its_own(code):
    said = {
        (colour, shape): true_captions(Scene((item("small", colour, shape, 0.5, 0.5),)), LANGUAGES[code])
        for colour in COLOURS
        for shape in SHAPES
    }
    for pair, captions in said.items():
        assert not re.search("[a-z]", "".join(captions)) or code == "de"
        specific = {caption for caption in captions if sum(caption in other for other in said.values()) == 1}
        assert specific, pair


def test_pictures_are_the_same_in_all_languages_and_captions_are_translations():
    datasets = [ScenesDataset.open(f"scenes:{code}") for code in LANGUAGES]
    for records in islice(zip(*(dataset.records("test") for dataset in datasets), strict=True), 20):
        assert len({record.image_id for record in records}) == 1
        assert len({record.source.version for record in records}) == 1
    english, german = (next(iter(dataset.records("train"))) for dataset in datasets[:2])
    assert english.captions[0] == "a picture of a large green circle and a small green square"
    assert german.captions[0] == "ein Bild von einem großen grünen Kreis und einem kleinen grünen Quadrat"


def test_english_is_as_it_always_was():
    assert ScenesDataset.open("scenes") == ScenesDataset.open("scenes:en") == ScenesDataset()
    total = hashlib.sha256()
    for split in ("train", "novel"):
        for record in islice(ScenesDataset().records(split), 100):
            total.update(repr((record.image_id, record.captions, sorted(true_captions(record.source.scene)))).encode())
    assert total.hexdigest() == GOLDEN


def test_names():
    assert open_dataset("scenes:ar").name == "scenes:ar"
    assert open_dataset("scenes:en").name == "scenes"
    with pytest.raises(DataError, match="choose one of scenes:en, scenes:de, scenes:ar, scenes:zh"):
        open_dataset("scenes:fr")
