from pathlib import Path

import pytest

from captioner.datasets.flickr import CAPTION_FILE, SPLIT_FILES
from captioner.datasets.problems import ProblemKind
from captioner.datasets.registry import open_dataset
from captioner.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"

NAMES = {"train": ["t1.jpg", "t0.jpg", "t2.jpg"], "dev": ["d0.jpg"], "test": ["e0.jpg"]}


def caption_lines(names, count=2):
    return [f"{name}#{number}\tA dog runs , take {number} ." for name in names for number in range(count)]


@pytest.fixture
def build(tmp_path):
    """Write a folder in the layout of Flickr8k; each part may be replaced or, with None, left out."""

    def build(*, tokens=None, lists=None, files=None, texts=".", pictures="images"):
        lists = NAMES if lists is None else lists
        every = list(dict.fromkeys(name for names in lists.values() for name in names or []))
        (tmp_path / texts).mkdir(parents=True, exist_ok=True)
        (tmp_path / pictures).mkdir(parents=True, exist_ok=True)
        content = tokens if isinstance(tokens, bytes) else "\n".join(tokens or caption_lines(every)).encode()
        (tmp_path / texts / CAPTION_FILE).write_bytes(content)
        for split, names in lists.items():
            if names is not None:
                (tmp_path / texts / SPLIT_FILES[split]).write_text("\n".join(names))
        for name in every if files is None else files:
            (tmp_path / pictures / Path(name).name).write_bytes(b"picture of " + name.encode())
        return str(tmp_path)

    return build


def problems_of(dataset):
    return [(problem.name, problem.kind) for problem in dataset.problems]


def ids(dataset, split):
    return [record.image_id for record in dataset.records(split)]


@pytest.mark.parametrize("texts", [".", "Flickr8k_text"])
@pytest.mark.parametrize(
    "pictures",
    ["images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "data/Images"],
)
def test_every_variant_of_the_layout_is_read(build, texts, pictures):
    folder = build(texts=texts, pictures=pictures)
    dataset = open_dataset(folder)
    assert dataset.splits == ("train", "dev", "test")
    assert dataset.problems == ()
    assert dataset.listed == 5
    assert ids(dataset, "train") == NAMES["train"]  # in the order of the list
    record = next(dataset.records("test"))
    assert (record.image_id, record.split) == ("e0.jpg", "test")
    assert record.captions == ("A dog runs , take 0 .", "A dog runs , take 1 .")
    assert record.source.read_bytes() == b"picture of e0.jpg"
    assert ids(dataset, "train") == ids(dataset, "train")


def test_without_a_test_list_there_is_no_test_split(build):
    dataset = open_dataset(build(lists=NAMES | {"test": None}))
    assert dataset.splits == ("train", "dev")
    with pytest.raises(DataError, match="has no split 'test'; it has train, dev"):
        dataset.records("test")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_missing_list_is_named(build, split):
    with pytest.raises(DataError, match=SPLIT_FILES[split]):
        open_dataset(build(lists=NAMES | {split: None}))


def test_a_missing_picture_folder_is_named(build):
    with pytest.raises(DataError, match="no pictures"):
        open_dataset(build(pictures="elsewhere/far/away"))


def test_another_folder_is_not_recognised(tmp_path):
    with pytest.raises(DataError, match=CAPTION_FILE):
        open_dataset(str(tmp_path))


def test_byte_order_mark_and_windows_line_ends_are_tolerated(build):
    tokens = b"\xef\xbb\xbf" + "\r\n".join(caption_lines(["t0.jpg", "d0.jpg"])).encode() + b"\r\n"
    dataset = open_dataset(build(tokens=tokens, lists={"train": ["t0.jpg"], "dev": ["d0.jpg"]}))
    assert dataset.problems == ()
    assert next(dataset.records("train")).captions == ("A dog runs , take 0 .", "A dog runs , take 1 .")


def test_captions_come_in_the_order_of_their_numbers(build):
    tokens = ["t0.jpg#1\tsecond", "d0.jpg#0\tother", "t0.jpg#0\tfirst", "t0.jpg#10\tlast", "t0.jpg#2\tthird"]
    dataset = open_dataset(build(tokens=tokens, lists={"train": ["t0.jpg"], "dev": ["d0.jpg"]}))
    assert next(dataset.records("train")).captions == ("first", "second", "third", "last")


def test_a_listed_picture_without_a_file_is_left_out_and_named_once(build):
    dataset = open_dataset(build(files=["t1.jpg", "t2.jpg", "d0.jpg", "e0.jpg"]))
    assert ids(dataset, "train") == ["t1.jpg", "t2.jpg"]
    assert problems_of(dataset) == [("t0.jpg", ProblemKind.MISSING_PICTURE)]
    assert dataset.listed == 5


def test_a_listed_picture_without_captions_is_left_out(build):
    dataset = open_dataset(build(tokens=caption_lines(["t1.jpg", "t2.jpg", "d0.jpg", "e0.jpg"])))
    assert ids(dataset, "train") == ["t1.jpg", "t2.jpg"]
    assert problems_of(dataset) == [("t0.jpg", ProblemKind.MISSING_CAPTIONS)]


def test_captions_for_a_picture_without_a_file_are_named_once(build):
    every = [name for names in NAMES.values() for name in names]
    dataset = open_dataset(build(tokens=caption_lines([*every, "gone.jpg"])))
    assert problems_of(dataset) == [("gone.jpg", ProblemKind.CAPTION_WITHOUT_PICTURE)]


def test_a_captioned_picture_in_no_split_is_no_problem(build):
    every = [name for names in NAMES.values() for name in names]
    dataset = open_dataset(build(tokens=caption_lines([*every, "spare.jpg"]), files=[*every, "spare.jpg"]))
    assert dataset.problems == ()


def test_a_picture_in_several_splits_stays_in_the_first_of_test_dev_train(build):
    lists = {"train": ["a.jpg", "b.jpg", "c.jpg", "t.jpg"], "dev": ["a.jpg", "b.jpg"], "test": ["a.jpg", "c.jpg"]}
    dataset = open_dataset(build(lists=lists))
    assert {split: ids(dataset, split) for split in dataset.splits} == {
        "train": ["t.jpg"],
        "dev": ["b.jpg"],
        "test": ["a.jpg", "c.jpg"],
    }
    assert sorted(problems_of(dataset)) == [(name, ProblemKind.IN_TWO_SPLITS) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert dataset.listed == 4


@pytest.mark.parametrize(
    ("line", "name", "kind"),
    [
        (b"t0.jpg#7\t  ", "t0.jpg#7", ProblemKind.EMPTY_CAPTION),
        (b"t0.jpg#7\t", "t0.jpg#7", ProblemKind.EMPTY_CAPTION),
        (b"t0.jpg#7\t. !", "t0.jpg#7", ProblemKind.EMPTY_CAPTION),
        (b"t0.jpg#" + b"7" * 5000 + b"\ta caption", f"{CAPTION_FILE} line 5", ProblemKind.MALFORMED_LINE),
        (b"t0.jpg#0\tagain", "t0.jpg#0", ProblemKind.DUPLICATE),
        (b"t0.jpg#7\tcaf\xe9", f"{CAPTION_FILE} line 5", ProblemKind.UNDECODABLE_BYTES),
        (b"t0.jpg\tno number", f"{CAPTION_FILE} line 5", ProblemKind.MALFORMED_LINE),
        (b"t0.jpg#x\tno number", f"{CAPTION_FILE} line 5", ProblemKind.MALFORMED_LINE),
        (b"t0.jpg#7 no tab", f"{CAPTION_FILE} line 5", ProblemKind.MALFORMED_LINE),
        (b"../t0.jpg#7\tout of the folder", f"{CAPTION_FILE} line 5", ProblemKind.MALFORMED_LINE),
    ],
)
def test_a_bad_caption_line_alone_is_left_out(build, line, name, kind):
    tokens = "\n".join(caption_lines(["t0.jpg", "d0.jpg"])).encode() + b"\n" + line + b"\n\n"
    dataset = open_dataset(build(tokens=tokens, lists={"train": ["t0.jpg"], "dev": ["d0.jpg"]}))
    assert problems_of(dataset) == [(name, kind)]
    assert next(dataset.records("train")).captions == ("A dog runs , take 0 .", "A dog runs , take 1 .")


@pytest.mark.parametrize(
    ("name", "named", "kind"),
    [
        ("t0.jpg", "t0.jpg", ProblemKind.DUPLICATE),
        ("../secret.jpg", f"{SPLIT_FILES['train']} line 4", ProblemKind.MALFORMED_LINE),
        ("t0.jpg\tt1.jpg", f"{SPLIT_FILES['train']} line 4", ProblemKind.MALFORMED_LINE),
    ],
)
def test_a_bad_line_of_a_list_alone_is_left_out(build, name, named, kind):
    folder = build()
    with (Path(folder) / SPLIT_FILES["train"]).open("a") as file:
        file.write("\n" + name + "\n")
    dataset = open_dataset(folder)
    assert problems_of(dataset) == [(named, kind)]
    assert ids(dataset, "train") == NAMES["train"]
    assert dataset.listed == 5


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/flickr8k")
def test_the_real_flickr8k_is_read_without_a_problem():
    dataset = open_dataset(str(REAL))
    assert dataset.splits == ("train", "dev")
    assert dataset.problems == ()
    records = {split: list(dataset.records(split)) for split in dataset.splits}
    assert {split: len(of_split) for split, of_split in records.items()} == {"train": 6000, "dev": 1000}
    assert {len(record.captions) for of_split in records.values() for record in of_split} == {5}
    assert records["train"][0].source.read_bytes()[:2] == b"\xff\xd8"  # a JPEG
