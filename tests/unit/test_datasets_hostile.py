"""Files as people's editors, programs and broken copies leave them, in every layout: read, or named with file and line.

The same faults go into the captions of every layout. What is whole is read as before; of what is broken each line or
item is a problem that names its place, or the file is one error that names it. Nothing is lost in silence.
"""

import json
import os
import random
import re
import sys
import tarfile

import pytest
from test_datasets_layouts import WRITERS, add_member, file_name, picture, write_pictures

from captioner.datasets.registry import find_layout, open_dataset
from captioner.errors import CaptionerError, DataError

FILES = {
    "flickr": "Flickr8k.token.txt",
    "kaggle": "captions.txt",
    "flickr30k": "results.csv",
    "karpathy": "dataset_coco.json",
    "coco": "annotations/captions_train2017.json",
    "imagefolder": "train/metadata.jsonl",
    "json-lines": "captions.jsonl",
    "table": "list.csv",
    "caption-list": "train.json",
    "sidecar": "train/bild 1.txt",
}
WHOLE = 12
"""Captions of the six pictures."""
OF_LINES = [label for label in FILES if label not in ("karpathy", "coco", "caption-list")]
OF_JSON = ["karpathy", "coco", "caption-list"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))


def broken(label, folder, change):
    """The data of a layout after `change` has been made to the bytes of one of its files, and the file."""
    WRITERS[label](folder)
    path = folder / FILES[label]
    before = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    after = change(before)
    assert after != before
    path.write_bytes(after)
    return path


def read(folder):
    """How many captions there are, and the names and reasons of the problems."""
    dataset = open_dataset(str(folder))
    captions = [caption for split in dataset.splits for each in dataset.records(split) for caption in each.captions]
    for caption in captions:
        caption.encode()
    return len(captions), [(problem.name, problem.reason) for problem in dataset.problems]


def in_utf16(encoding, mark=b""):
    return lambda data: mark + data.decode().encode(encoding)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
        pytest.param(in_utf16("utf-16-le", b"\xff\xfe"), id="utf-16 little endian"),
        pytest.param(in_utf16("utf-16-be", b"\xfe\xff"), id="utf-16 big endian"),
        pytest.param(in_utf16("utf-16-le"), id="utf-16 without a mark"),
        pytest.param(lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n", id="windows"),
        pytest.param(lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r") + b"\r", id="old mac"),
        pytest.param(lambda data: data + b"\n\n  \n", id="blank lines"),
        pytest.param(lambda data: data.replace(b"A dog", b"A dog" + b" and a cat" * 10_000, 1), id="long caption"),
    ],
)
@pytest.mark.parametrize("label", FILES)
def test_what_editors_do_to_a_file_changes_nothing(label, change, tmp_path):
    broken(label, tmp_path, change)
    assert find_layout(tmp_path).label == label
    assert read(tmp_path) == (WHOLE, [])


@pytest.mark.parametrize("label", OF_LINES)
def test_a_line_that_is_not_utf8_is_named_and_the_others_are_read(label, tmp_path):
    path = broken(label, tmp_path, lambda data: data.replace(b"A dog, number 1", b"A dog, number \xe9 1", 1))
    count, ((place, reason),) = read(tmp_path)
    # An object of imagefolder has both captions of its picture.
    assert count == WHOLE - (2 if label == "imagefolder" else 1)
    assert re.fullmatch(rf"{re.escape(path.relative_to(tmp_path).as_posix())} line \d", place)
    assert re.match(r"byte \d+ is not UTF-8", reason)


@pytest.mark.parametrize("label", ["kaggle", "json-lines", "table", "sidecar"])
def test_a_line_of_a_size_that_no_caption_has_is_named_and_not_held_in_memory(label, tmp_path):
    path = broken(label, tmp_path, lambda data: data.replace(b"A dog", b"A dog" + b" x" * 9 * 2**20, 1))
    count, ((place, reason),) = read(tmp_path)
    assert count == WHOLE - 1
    assert place.startswith(f"{path.relative_to(tmp_path).as_posix()} line ")
    assert reason == "longer than 16 MB; the line is left out"


@pytest.mark.parametrize("label", ["table", "json-lines", "imagefolder"])
def test_a_file_that_is_cut_short_loses_the_lines_that_are_gone_and_names_the_broken_one(label, tmp_path):
    path = broken(label, tmp_path, lambda data: data[: int(0.55 * len(data))])
    count, problems = read(tmp_path)
    assert 0 < count < WHOLE
    last = len(path.read_bytes().splitlines())
    assert (f"{path.relative_to(tmp_path).as_posix()} line {last}") in dict(problems)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut short"),
        pytest.param(lambda data: data.replace(b"A dog", b"A \0 dog", 1), id="zero byte"),
        pytest.param(lambda data: data.replace(b'"A dog', b'""A dog', 1), id="a quote too many"),
        pytest.param(lambda data: bytes(range(256)) * 20, id="no text at all"),
    ],
)
@pytest.mark.parametrize("label", OF_JSON)
def test_json_that_is_broken_is_one_error_with_the_file(label, change, tmp_path):
    path = broken(label, tmp_path, change)
    with pytest.raises(DataError, match=rf"(^|layout: )(\S*/)?{path.name} (is not JSON|has )"):
        read(tmp_path)


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 20])
@pytest.mark.parametrize("label", OF_LINES)
def test_a_file_without_a_caption_is_one_error_or_leaves_its_picture_without(label, data, tmp_path):
    broken(label, tmp_path, lambda _: data)
    if label == "sidecar":
        count, problems = read(tmp_path)
        assert (count, problems[-1]) == (10, ("train/bild 1.png", "in train, but has no caption; left out"))
    else:
        with pytest.raises(DataError):
            read(tmp_path)


@pytest.mark.parametrize("label", ["json-lines", "table"])
def test_a_folder_whose_only_file_does_not_fit_says_why(label, tmp_path):
    path = broken(label, tmp_path, lambda data: re.sub(b'Image Path|"(id|image)"', b'"gesehen"', data))
    with pytest.raises(DataError, match=rf"{path.name}: no column is called like pictures.*--image-column.*gesehen"):
        find_layout(tmp_path)


# ---- tables --------------------------------------------------------------------------------------------------------


def table_of(tmp_path, text):
    write_pictures(tmp_path)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    problems = []
    return [(entry.name, entry.captions) for entry in find_layout(tmp_path).entries(problems.append)], [
        (problem.name, problem.reason.partition(" (")[0]) for problem in problems
    ]


def test_a_quote_that_nobody_closes_takes_one_line_and_not_the_rest_of_the_file(tmp_path):
    rows = "".join(f"bild {number % 6}.png,caption {number}\n" for number in range(1000))
    entries, problems = table_of(tmp_path, 'file,text\n1.png,"open\n' + rows)
    assert len(entries) == 1000
    assert problems == [("list.csv line 2", "quotes that do not fit together")]


def test_cells_may_have_line_ends_quotes_and_separators_in_quotes(tmp_path):
    entries, problems = table_of(tmp_path, 'file,text\na.png,"A dog,\na ""big"" one"\nb.png,A cat\n')
    assert entries == [("a.png", ('A dog,\na "big" one',)), ("b.png", ("A cat",))]
    assert problems == []


def test_text_behind_a_quote_and_a_cell_without_bounds_are_named(tmp_path):
    text = 'file,text\na.png,"A "big" dog"\nb.png,' + "x" * 200_000 + "\nc.png,A cat\n"
    entries, problems = table_of(tmp_path, text)
    assert entries == [("c.png", ("A cat",))]
    assert [place for place, _ in problems] == ["list.csv line 2", "list.csv line 3"]


def test_two_columns_of_one_name_are_refused(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "list.csv").write_text("file,text,text\nbild 0.png,one,two\n")
    with pytest.raises(DataError, match=r"list.csv has more than one column called text; rename all but one"):
        find_layout(tmp_path / "list.csv")


def test_a_header_in_quotes_may_have_the_separator_in_it(tmp_path):
    entries, problems = table_of(tmp_path, '"no, number","file","text"\n1,a.png,A dog\n')
    assert (entries, problems) == ([("a.png", ("A dog",))], [])


def test_a_header_alone_has_no_pictures(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "list.csv").write_text("file,text\n")
    with pytest.raises(DataError, match="there are no pictures with captions"):
        open_dataset(str(tmp_path))


def test_two_quotes_that_are_strangers_do_not_swallow_the_rows_between(tmp_path):
    rows = ['0.jpg,"A dog runs', "1.jpg,A man sits", "2.jpg,A cat", '3.jpg,A sign that says stop"', "4.jpg,A cow"]
    entries, problems = table_of(tmp_path, "file,text\n" + "\n".join(rows) + "\n")
    assert entries == [
        ("1.jpg", ("A man sits",)),
        ("2.jpg", ("A cat",)),
        ("3.jpg", ('A sign that says stop"',)),
        ("4.jpg", ("A cow",)),
    ]
    assert [place for place, _ in problems] == ["list.csv line 2"]


def test_lists_as_python_shows_them_are_lists(tmp_path):
    entries, problems = table_of(tmp_path, "file,text\na.png,\"['A dog', 'It\\'s a cat']\"\nb.png,['\n")
    assert entries == [("a.png", ("A dog", "It's a cat")), ("b.png", ("['",))]
    assert problems == []


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "../secret.png", "..\\secret.png", "C:\\Windows\\win.ini", "\\\\server\\share\\a.png",
        "a\0b.png", "x" * 5000, "/".join("x" * 5000), ".", "..", "/", "con", "a.png/b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("label", ["json-lines", "imagefolder"])
def test_names_never_lead_out_of_the_folder_and_never_break_the_reading(label, name, tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(0))
    folder = tmp_path / "data"
    write_pictures(folder)
    (folder / "a.png").write_bytes(picture(9))
    lines = [{"file_name": name, "text": "A dog"}, {"file_name": "bild 1.png", "text": "A cat"}]
    file = "metadata.jsonl" if label == "imagefolder" else "captions.jsonl"
    (folder / file).write_text("\n".join(map(json.dumps, lines)))
    layout = find_layout(folder)
    assert layout.label == label
    sources = [layout.source(entry.name, entry.locator) for entry in layout.entries(pytest.fail)]
    found = [source.path for source in sources if source is not None]
    assert folder / "bild 1.png" in found
    assert all(path.resolve().is_relative_to(folder) for path in found)


def test_a_missing_picture_is_not_replaced_by_another_of_its_name(tmp_path):
    for folder in ("train", "sub"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("train/0.png", "train/1.png", "1.png", "sub/1.png", "sub/only.png")):
        (tmp_path / name).write_bytes(picture(number))
    rows = ["only.png", "test/0.png", "train/0.png", "1.png", "sub/0.png", "gone/only.png", "/data/train/1.png"]
    (tmp_path / "list.csv").write_text("file,text\n" + "".join(f"{name},A dog\n" for name in rows))
    layout = find_layout(tmp_path)
    for _ in range(2):
        sources = {name: layout.source(name, "") for name in rows}
        found = {name: source and source.path.relative_to(tmp_path).as_posix() for name, source in sources.items()}
        assert found == {
            "only.png": "sub/only.png",
            "test/0.png": None,
            "train/0.png": "train/0.png",
            "1.png": "1.png",
            "sub/0.png": None,
            "gone/only.png": "sub/only.png",
            "/data/train/1.png": "train/1.png",
        }


def test_splits_are_those_of_folders_at_any_depth(tmp_path):
    for number in range(6):
        folder = tmp_path / "images" / ("train", "train", "train", "train", "val", "test")[number]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture(number))
        (folder / f"{number}.txt").write_text("A dog")
    assert sorted(open_dataset(str(tmp_path)).splits) == ["dev", "test", "train"]
    lines = [{"file_name": str(path.relative_to(tmp_path)), "text": "A cat"} for path in tmp_path.rglob("*.png")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = open_dataset(str(tmp_path))
    assert dataset.layout.label == "imagefolder"
    assert {split: len(list(dataset.records(split))) for split in dataset.splits} == {"train": 4, "dev": 1, "test": 1}


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    home = tmp_path / "home"
    for folder, numbers in ((elsewhere, (0, 1, 2)), (home, (3, 4))):
        folder.mkdir()
        for number in numbers:
            (folder / f"{number}.png").write_bytes(picture(number))
            (folder / f"{number}.txt").write_text("A dog")
    (home / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(home)
    entries = [entry.name for entry in find_layout(home).entries(pytest.fail)]
    assert entries == ["3.png", "4.png", "link/0.png", "link/1.png", "link/2.png"]


def test_an_archive_beside_the_captions_is_not_taken_for_the_data(tmp_path):
    WRITERS["sidecar"](tmp_path)
    with tarfile.open(tmp_path / "backup.tar", "w") as tar:
        add_member(tar, "1.png", picture(1))
        add_member(tar, "2.png", picture(2))
    assert find_layout(tmp_path).label == "sidecar"
    assert read(tmp_path) == (WHOLE, [])


def test_upper_case_endings_are_pictures(tmp_path):
    (tmp_path / "DOG.JPG").write_bytes(picture(0))
    (tmp_path / "DOG.TXT").write_text("A dog")
    (entry,) = find_layout(tmp_path).entries(pytest.fail)
    assert (entry.name, entry.captions) == ("DOG.JPG", ("A dog",))


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no text are a thing of Linux")
def test_a_file_whose_name_is_no_text_is_named_and_left_out(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"{number}.txt").write_text("A dog")
    with open(os.fsencode(tmp_path) + b"/b\xe4r.png", "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(picture(4))
    with open(os.fsencode(tmp_path) + b"/b\xe4r.txt", "wb") as file:  # noqa: PTH123
        file.write(b"A bear")
    count, problems = read(tmp_path)
    assert count == 3
    assert problems == [("b\\udce4r.png", "its name is not Unicode; rename it; left out")]


def test_halves_of_characters_are_named_and_left_out(tmp_path):
    write_pictures(tmp_path)
    lines = [
        f'{{"image": "{file_name(0)}", "caption": ["A \\ud800 dog", "A cat"]}}',
        '{"image": "\\udc00.png", "caption": "x"}',
        *(json.dumps({"image": file_name(number), "caption": "A dog"}) for number in (1, 2)),
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    count, problems = read(tmp_path)
    assert count == 3
    assert [name for name, _ in problems] == ["captions.jsonl line 1", "\\udc00.png"]


# ---- values of another kind than expected ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 3, 1.5, True, [], {}, "", "  ", [1], [None], [["A dog"]], {"raw": "A dog"}])
@pytest.mark.parametrize("key", ["image", "caption"])
@pytest.mark.parametrize("label", ["json-lines", "caption-list"])
def test_values_that_are_no_text_are_named_or_empty(label, key, value, tmp_path):
    write_pictures(tmp_path)
    rows = [
        {"image": file_name(0), "caption": "A dog"},
        {"image": file_name(1), "caption": "A cat", key: value},
        {"image": file_name(2), "caption": "A cow"},
    ]
    if label == "json-lines":
        (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        (tmp_path / "captions.json").write_text(json.dumps(rows))
    assert find_layout(tmp_path).label == label
    count, problems = read(tmp_path)
    assert count == 2
    assert all(
        "item 2" in name or "line 2" in name or "item 2" in reason or "line 2" in reason for name, reason in problems
    )
    assert problems


@pytest.mark.parametrize("images", [None, 3, {}, "text", [None, 3, "text", []], [{"filename": 3, "sentences": []}]])
def test_a_karpathy_file_of_other_values_is_an_error_or_named(images, tmp_path):
    WRITERS["karpathy"](tmp_path)
    whole = json.loads((tmp_path / "dataset_coco.json").read_text(encoding="utf-8"))["images"]
    content = {"images": whole + images if isinstance(images, list) else images}
    (tmp_path / "dataset_coco.json").write_text(json.dumps(content))
    if isinstance(images, list):
        count, problems = read(tmp_path)
        assert count == WHOLE
        assert [name for name, _ in problems] == [f"dataset_coco.json image {7 + each}" for each in range(len(images))]
    else:
        with pytest.raises(DataError, match="no known layout"):
            read(tmp_path)


# ---- files of bytes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "share"),
    [*(("parquet", share) for share in (0, 0.02, 0.3, 0.6, 0.95)), *(("shards", share) for share in (0, 0.02, 0.3))],
)
def test_a_file_of_bytes_that_is_cut_short_is_named(label, share, tmp_path):
    WRITERS[label](tmp_path)
    path = find_layout(tmp_path).files[0]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CaptionerError, match=path.name):
        list(find_layout(tmp_path).entries(pytest.fail))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("label", WRITERS)
def test_bytes_changed_at_random_never_break_the_reading(label, seed, tmp_path):
    chance = random.Random(seed)
    WRITERS[label](tmp_path)
    path = chance.choice(find_layout(tmp_path).files)
    if path.is_dir():
        path = chance.choice(sorted(tmp_path.rglob("*.txt")))
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 20)):
        place = chance.randrange(len(data))
        data[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    path.write_bytes(data)
    error = None
    try:
        dataset = open_dataset(str(tmp_path))
        records = [record for split in dataset.splits for record in dataset.records(split)]
    except CaptionerError as raised:
        error, records = str(raised), []
    assert error is None or path.name in error or tmp_path.name in error
    for record in records:
        assert record.captions
        record.source.name.encode()


def test_members_of_a_shard_may_be_of_any_kind(tmp_path):
    with tarfile.open(tmp_path / "mine.tar", "w") as tar:
        for kind, name in (
            (tarfile.SYMTYPE, "link.jpg"), (tarfile.DIRTYPE, "folder"), (tarfile.LNKTYPE, "hard.jpg"),
            (tarfile.FIFOTYPE, "pipe.jpg"), (tarfile.CHRTYPE, "device.jpg"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for number in range(3):
            add_member(tar, f"../../{number}.png", picture(number))
            add_member(tar, f"../../{number}.txt", b"A dog")
        add_member(tar, "many.txt", b"A dog\n" * 200_000)
        add_member(tar, "many.png", picture(4))
        add_member(tar, "both.depth.png", picture(6))
        add_member(tar, "both.png", picture(5))
        add_member(tar, "both.txt", b"A cat")
    dataset = open_dataset(str(tmp_path))
    assert [problem.reason for problem in dataset.problems] == ["its text has more than 1 MB; left out"]
    assert {record.source.read_bytes() for split in dataset.splits for record in dataset.records(split)} == {
        picture(number) for number in (0, 1, 2, 5)
    }
