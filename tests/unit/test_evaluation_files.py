"""Predictions and references from files: formats, ids that must fit, and every refusal by name."""

import json
import re
from pathlib import Path

import pytest

from captioner.errors import CaptionerError, ConfigError, DataError, MetricError
from captioner.evaluation.predictions import read_predictions
from captioner.evaluation.references import ReferenceSet, match, read_references, references_beside

REFERENCES = ReferenceSet("the set", {"a.jpg": ("a dog",), "b.jpg": ("a cat", "cats")}, {})


def write(folder: Path, content: object, name: str = "p.jsonl") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(*entries: object) -> str:
    return "\n".join(json.dumps(entry) for entry in entries) + "\n"


def flickr(folder: Path, captions: dict[str, list[str]], *, pictures: bool = True) -> Path:
    rows = [f"{name}#{number}\t{text}" for name, texts in captions.items() for number, text in enumerate(texts)]
    write(folder, "\n".join(rows), "Flickr8k.token.txt")
    if pictures:
        (folder / "images").mkdir()
        for name in captions:
            (folder / "images" / name).write_bytes(b"never opened")
    return folder


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    ours = read_predictions(
        write(tmp_path, lines({"path": "in/a.jpg", "caption": "ein Hündchen 狗"}, {"image_id": "b.jpg", "caption": ""}))
    )
    coco = read_predictions(
        write(tmp_path, [{"image_id": "a.jpg", "caption": "ein Hündchen 狗"}, {"image_id": "b.jpg", "caption": ""}])
    )
    assert [each.caption for each in ours] == [each.caption for each in coco] == ["ein Hündchen 狗", ""]
    assert match(ours, REFERENCES).predictions == match(coco, REFERENCES).predictions
    assert match(ours, REFERENCES).without_words == ("b.jpg",)


@pytest.mark.parametrize("path", ["a.jpg", "in/some where/a.jpg", r"C:\pictures\a.jpg", "./a.JPG", "a"])
def test_paths_count_by_their_file_name(tmp_path: Path, path: str) -> None:
    found = read_predictions(write(tmp_path, lines({"path": path, "caption": "x"}, {"path": "b.jpg", "caption": "y"})))
    assert list(match(found, REFERENCES).predictions) == ["a.jpg", "b.jpg"]


def test_a_picture_that_failed_has_an_empty_caption(tmp_path: Path) -> None:
    entries = lines({"path": "a.jpg", "error": {"code": "corrupt"}}, {"path": "b.jpg", "caption": "cats"})
    assert match(read_predictions(write(tmp_path, entries)), REFERENCES).without_words == ("a.jpg",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there are no captions in"),
        ("[]", "there are no captions in"),
        ("nonsense", "line 1 of"),
        ("[1, 2", "is damaged"),
        (lines({"image_id": "a", "caption": "x"}, ["a"]), "line 2 of p.jsonl is not an object"),
        ([["a"]], "entry 1 of p.jsonl is not an object"),
        (lines({"image_id": "a", "caption": "x"}, {"caption": "x"}), "line 2 of p.jsonl names no picture"),
        (lines({"image_id": True, "caption": "x"}), "names no picture"),
        (lines({"image_id": "a"}), "line 1 of p.jsonl has no caption"),
        (lines({"image_id": "a", "caption": ["x"]}), "has no caption"),
        (lines({"image_id": "a", "caption": "x", "references": "y"}), "a single text instead of a list"),
        (lines({"image_id": "a", "caption": "x", "references": [1]}), "not a list of texts"),
        (lines({"image_id": "a", "caption": "startseq a dog endseq"}), "the marker startseq in its caption"),
        (lines({"image_id": "a", "caption": "x"}, {"image_id": "b", "caption": "a dog <end>"}), "marker <end>"),
        (lines({"image_id": "a", "caption": "<s> a dog"}), "marker <s>"),
        (lines({"image_id": "a", "caption": "a [SEP]"}), "marker [SEP]"),
        (lines({"image_id": "a", "caption": "start a b end"}, {"image_id": "b", "caption": "start c end"}), '"start"'),
        (lines({"image_id": "a", "caption": "a b end"}, {"image_id": "b", "caption": "c end ."}), ""),
    ],
)
def test_bad_files_are_refused_by_place(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, content)
    if not message:
        assert len(read_predictions(path)) == 2  # "end ." is a sentence, not a marker
        return
    with pytest.raises(MetricError) as caught:
        read_predictions(path)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("caption", ["the start of a race", "a dead end street", "a <3 b", "the sunset's end"])
def test_ordinary_words_are_no_markers(tmp_path: Path, caption: str) -> None:
    assert read_predictions(write(tmp_path, lines({"image_id": "a", "caption": caption})))[0].caption == caption


def test_files_that_cannot_be_read_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"caption": "caf\xe9"}')
    for name, message in (("missing.jsonl", "No such file"), ("latin.jsonl", "not UTF-8"), (".", "directory")):
        with pytest.raises(ConfigError, match=message):
            read_predictions(tmp_path / name)


def test_ids_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    def matched(*images: str) -> str:
        found = read_predictions(write(tmp_path, lines(*({"image_id": image, "caption": "x"} for image in images))))
        with pytest.raises(MetricError) as caught:
            match(found, REFERENCES)
        return caught.value.message

    assert "no references for z.jpg;" in matched("a.jpg", "b.jpg", "z.jpg")
    assert "no prediction for b.jpg of the set" in matched("a.jpg")
    assert "a.jpg is predicted twice: line 1 of p.jsonl and line 3" in matched("a.jpg", "b.jpg", "a.jpg")
    assert "and 2 more" in matched("v", "w", "x", "y", "z")


def test_coco_captions_by_id_and_by_file_name(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 7, "file_name": "COCO_val_7.jpg"}, {"id": 9, "file_name": "nine.png"}, {"id": 11}],
        "annotations": [
            {"image_id": 7, "caption": "a dog"},
            {"image_id": 9, "caption": "x"},
            {"image_id": 7, "caption": "dogs"},
        ],
    }
    references = read_references(str(write(tmp_path, data, "coco.json")))
    assert references.captions == {"7": ("a dog", "dogs"), "9": ("x",)}
    by_id = [{"image_id": 7, "caption": "p"}, {"image_id": "9", "caption": "q"}]
    by_name = lines({"path": "val/COCO_val_7.jpg", "caption": "p"}, {"path": "nine.png", "caption": "q"})
    for content in (by_id, by_name):
        assert match(read_predictions(write(tmp_path, content)), references).predictions == {"7": "p", "9": "q"}


@pytest.mark.parametrize(
    "data",
    [
        "{",
        [],
        {},
        {"annotations": [{"image_id": 1}]},
        {"annotations": [{"image_id": 1, "caption": 2}]},
        {"annotations": []},
    ],
)
def test_json_that_is_not_coco_is_refused(tmp_path: Path, data: object) -> None:
    with pytest.raises(MetricError, match="a COCO captions JSON has"):
        read_references(str(write(tmp_path, data, "coco.json")))


def test_a_folder_needs_no_lists_and_every_picture_counts(tmp_path: Path) -> None:
    captions = {"a.jpg": ["a dog", "dogs"], "b.jpg": ["a cat"]}
    assert read_references(str(flickr(tmp_path, captions))).captions == {
        "a.jpg": ("a dog", "dogs"),
        "b.jpg": ("a cat",),
    }
    (tmp_path / "images" / "b.jpg").unlink()  # captions alone are no picture
    assert list(read_references(str(tmp_path)).captions) == ["a.jpg"]


def test_captions_without_any_folder_of_pictures_will_do(tmp_path: Path) -> None:
    assert read_references(str(flickr(tmp_path, {"a.jpg": ["a dog"]}, pictures=False))).captions == {
        "a.jpg": ("a dog",)
    }


def test_a_split_brings_its_training_captions(tmp_path: Path) -> None:
    flickr(tmp_path, {"a.jpg": ["a dog"], "b.jpg": ["a cat"], "c.jpg": ["a cow"]})
    for split, name in (("train", "a.jpg"), ("dev", "b.jpg"), ("test", "c.jpg")):
        write(tmp_path, name, f"Flickr_8k.{split}Images.txt")
    found = read_references(str(tmp_path), "dev")
    assert (found.captions, found.training) == ({"b.jpg": ("a cat",)}, ("a dog",))
    assert read_references(str(tmp_path), "train").training == ()
    assert len(read_references(str(tmp_path)).captions) == 3
    with pytest.raises(DataError, match="no split 'novel'"):
        read_references(str(tmp_path), "novel")


def test_the_embedded_data_set_has_references_too() -> None:
    found = read_references("scenes", "test")
    assert len(found.captions) == 300
    assert found.training


@pytest.mark.parametrize("source", ["nowhere", "coco.json"])
def test_references_that_are_not_there_are_wrong_usage(tmp_path: Path, source: str) -> None:
    with pytest.raises(CaptionerError) as caught:
        read_references(str(tmp_path / source))
    assert caught.value.code == "config"


def test_references_may_stand_beside_the_captions(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, lines({"image_id": "a", "caption": "x", "references": ["a dog", "dogs"]})))
    assert match(found, references_beside(found)).references == {"a": ("a dog", "dogs")}
    found = read_predictions(write(tmp_path, lines({"image_id": "a", "caption": "x"})))
    with pytest.raises(ConfigError, match=r"line 1 of p\.jsonl has no references beside its caption; name them with"):
        references_beside(found)


COCO = ReferenceSet(
    "the set", {"1": ("a dog",), "2": ("a cat",), "3": ("a cow",)}, {"2.jpg": "1", "1.jpg": "2", "val/3.png": "3"}
)


@pytest.mark.parametrize(
    ("entry", "image_id"),
    [
        ({"path": "out/2.png"}, "1"),  # 2 is an id, too, but of another picture
        ({"path": "2"}, "1"),
        ({"path": "2.jpg"}, "1"),
        ({"path": "/data/val/3.png"}, "3"),
        ({"path": "C:\\pics\\3.jpg"}, "3"),
        ({"image_id": 2}, "2"),
        ({"image_id": "2.jpg"}, "1"),
    ],
    ids=str,
)
def test_a_name_is_that_of_the_file_and_an_id_is_an_id(tmp_path: Path, entry: dict, image_id: str) -> None:
    names = {"1": "1", "2": "2", "3": "3"}
    del names[image_id]
    others = [{"image_id": other, "caption": "x"} for other in names]
    predictions = read_predictions(write(tmp_path, lines({**entry, "caption": "a dog"}, *others)))
    assert match(predictions, COCO).predictions[image_id] == "a dog"


@pytest.mark.parametrize("path", ["x/b.JPG", "b", "other/b.png", "./b.jpg"])
def test_references_with_folders_in_their_names_are_found(tmp_path: Path, path: str) -> None:
    deep = ReferenceSet("the set", {"x/a.jpg": ("a dog",), "x/b.jpg": ("a cat",)}, {})
    predictions = read_predictions(
        write(tmp_path, lines({"path": "/elsewhere/a.png", "caption": "A"}, {"path": path, "caption": "B"}))
    )
    assert match(predictions, deep).predictions == {"x/a.jpg": "A", "x/b.jpg": "B"}


def test_a_name_that_several_pictures_have_means_none(tmp_path: Path) -> None:
    twins = ReferenceSet("the set", {"x/a.jpg": ("a dog",), "y/a.jpg": ("a cat",)}, {})
    with pytest.raises(MetricError, match=r"no references for z/a\.jpg"):
        match(read_predictions(write(tmp_path, lines({"path": "z/a.jpg", "caption": "A"}))), twins)
    both = lines({"path": "x/a.jpg", "caption": "A"}, {"path": "y/a.jpg", "caption": "B"})
    assert match(read_predictions(write(tmp_path, both)), twins).predictions == {"x/a.jpg": "A", "y/a.jpg": "B"}


@pytest.mark.parametrize(
    "caption",
    ["[START] a dog [END]", "<sos> a dog <eos>", "startofseq a dog endofseq", "<|startoftext|> a dog", "a dog <end>"],
)
def test_more_markers_are_refused(tmp_path: Path, caption: str) -> None:
    with pytest.raises(MetricError, match="marker"):
        read_predictions(
            write(tmp_path, lines({"path": "a.jpg", "caption": caption}, {"path": "b", "caption": "a cat"}))
        )


@pytest.mark.parametrize(("begin", "end"), [("sos", "eos"), ("[bos]", ""), ("begin", "stop"), ("", "<stop>.")])
def test_words_around_every_caption_are_markers(tmp_path: Path, begin: str, end: str) -> None:
    entries = [
        {"path": name, "caption": f"{begin} {text} {end}".strip()} for name, text in (("a", "a dog"), ("b", "cats"))
    ]
    with pytest.raises(MetricError, match="marker"):
        read_predictions(write(tmp_path, lines(*entries)))


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (("startseq a dog endseq",), "a.jpg in the set has the marker startseq"),
        (("", "."), "no reference with a word in it for a.jpg"),
    ],
)
def test_references_are_held_to_the_same(tmp_path: Path, captions: tuple[str, ...], message: str) -> None:
    predictions = read_predictions(write(tmp_path, lines({"path": "a.jpg", "caption": "a dog"})))
    with pytest.raises(MetricError, match=re.escape(message)):
        match(predictions, ReferenceSet("the set", {"a.jpg": captions}, {}))
