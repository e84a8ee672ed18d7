"""The same six pictures in every layout: recognised, read alike; and what cannot be read is named with its place."""

import csv
import gc
import io
import json
import re
import sys
import tarfile
import tracemalloc
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

from captioner.datasets.layout import Columns, split_in
from captioner.datasets.registry import LAYOUTS, find_layout, open_dataset
from captioner.errors import DataError

SPLITS = {"train": [0, 1, 2, 3], "dev": [4], "test": [5]}
SPLIT_OF = {number: split for split, numbers in SPLITS.items() for number in numbers}
CAPTIONS = {number: (f"A dog, number {number} .", f'He said "{number}" – über 犬 .') for number in range(6)}
WITHOUT_SPLITS = {"kaggle", "flickr30k"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))


def picture(number):
    content = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).resize((48, 32), Image.Resampling.BICUBIC).save(content, "PNG")
    return content.getvalue()


def file_name(number):
    return f"bild {number}.png"


def write_pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        (folder / file_name(number)).write_bytes(picture(number))


def rows():
    return [(number, caption) for number in range(6) for caption in CAPTIONS[number]]


def write_flickr(folder):
    write_pictures(folder / "images")
    text = "".join(f"{file_name(n)}#{k}\t{CAPTIONS[n][k]}\n" for n in range(6) for k in range(2))
    (folder / "Flickr8k.token.txt").write_text(text, encoding="utf-8")
    for split, name in {"train": "train", "dev": "dev", "test": "test"}.items():
        lines = "\n".join(map(file_name, SPLITS[split]))
        (folder / f"Flickr_8k.{name}Images.txt").write_text(lines, encoding="utf-8")


def write_kaggle(folder):
    write_pictures(folder / "Images")
    text = "image,caption\n" + "".join(f"{file_name(number)},{caption}\n" for number, caption in rows())
    (folder / "captions.txt").write_text(text, encoding="utf-8")


def write_flickr30k(folder):
    write_pictures(folder / "flickr30k_images")
    text = "image_name| comment_number| comment\n"
    text += "".join(f"{file_name(n)}| {k}| {CAPTIONS[n][k]}\n" for n in range(6) for k in range(2))
    (folder / "results.csv").write_text(text, encoding="utf-8")


def write_table(folder):
    write_pictures(folder / "in" / "here")
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Nr", "Image Path", "Description", "Split"])
        writer.writerows([n, f"in\\here\\{file_name(n)}", caption, SPLIT_OF[n]] for n, caption in rows())


def write_sidecar(folder):
    for number in range(6):
        inner = folder / {"train": "train", "dev": "val", "test": "test"}[SPLIT_OF[number]]
        inner.mkdir(parents=True, exist_ok=True)
        (inner / file_name(number)).write_bytes(picture(number))
        end = ".txt" if number % 2 else ".png.caption"
        (inner / f"bild {number}{end}").write_text("\n".join(CAPTIONS[number]), encoding="utf-8")


def write_coco(folder):
    for split, year in {"train": "train2017", "dev": "val2017", "test": "test2017"}.items():
        for number in SPLITS[split]:
            (folder / year).mkdir(parents=True, exist_ok=True)
            (folder / year / file_name(number)).write_bytes(picture(number))
        images = [{"id": number, "file_name": file_name(number)} for number in SPLITS[split]]
        annotations = [{"id": 7, "image_id": n, "caption": text} for n in SPLITS[split] for text in CAPTIONS[n]]
        (folder / "annotations").mkdir(exist_ok=True)
        content = {"info": {"year": 2017}, "annotations": annotations, "images": images}
        (folder / "annotations" / f"captions_{year}.json").write_text(json.dumps(content), encoding="utf-8")


def write_karpathy(folder):
    write_pictures(folder / "pictures" / "val2014")
    names = {"train": "restval", "dev": "val", "test": "test"}
    images = [
        {
            "filepath": "val2014",
            "filename": file_name(n),
            "split": names[SPLIT_OF[n]],
            "sentences": [{"raw": text, "tokens": text.split()} for text in CAPTIONS[n]],
        }
        for n in range(6)
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}), encoding="utf-8")


def write_caption_list(folder):
    write_pictures(folder / "imgs")
    for split, numbers in SPLITS.items():
        items = [{"file_path": f"imgs/{file_name(n)}", "captions": list(CAPTIONS[n])} for n in numbers]
        (folder / f"{split}.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8-sig")


def write_json_lines(folder):
    write_pictures(folder)
    lines = [json.dumps({"id": n, "image": file_name(n), "caption": c, "split": SPLIT_OF[n]}) for n, c in rows()]
    (folder / "captions.jsonl").write_text("\r\n".join(lines), encoding="utf-8")


def write_imagefolder(folder):
    for split, name in {"train": "train", "dev": "validation", "test": "test"}.items():
        (folder / name).mkdir(parents=True)
        lines = []
        for number in SPLITS[split]:
            (folder / name / file_name(number)).write_bytes(picture(number))
            lines.append(json.dumps({"file_name": file_name(number), "text": CAPTIONS[number]}))
        (folder / name / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def write_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (folder / "data").mkdir(parents=True)
    for split, numbers in {"train": SPLITS["train"], "validation": SPLITS["dev"], "test": SPLITS["test"]}.items():
        cells = [{"bytes": picture(number), "path": file_name(number)} for number in numbers]
        table = pyarrow.table({"image": cells, "caption": [list(CAPTIONS[number]) for number in numbers]})
        parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet", row_group_size=3)


def add_member(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def write_shards(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for shard, numbers in {"train-000": [0, 1], "train-001": [2, 3], "val-000": [4], "test-000": [5]}.items():
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in numbers:
                key = f"./{number:06}"
                if number % 2:
                    add_member(tar, f"{key}.json", json.dumps({"caption": CAPTIONS[number], "width": 48}).encode())
                    add_member(tar, f"{key}.png", picture(number))
                else:
                    add_member(tar, f"{key}.png", picture(number))
                    add_member(tar, f"{key}.txt", "\n".join(CAPTIONS[number]).encode())


WRITERS = {
    "flickr": write_flickr,
    "kaggle": write_kaggle,
    "flickr30k": write_flickr30k,
    "karpathy": write_karpathy,
    "coco": write_coco,
    "imagefolder": write_imagefolder,
    "shards": write_shards,
    "parquet": write_parquet,
    "json-lines": write_json_lines,
    "table": write_table,
    "caption-list": write_caption_list,
    "sidecar": write_sidecar,
}


def content_of(dataset):
    """What every layout must agree on: the bytes of each picture, with its captions, and its split."""
    return {
        record.source.read_bytes(): (record.captions, split)
        for split in dataset.splits
        for record in dataset.records(split)
    }


@pytest.fixture(autouse=True)
def ijson(request):
    """JSON is read as a stream with a library that an installation for captioning alone does not have."""
    if re.search("memory_stays.*(karpathy|coco|caption-list)|json_file_that_breaks_off", request.node.name):
        pytest.importorskip("ijson")


@pytest.mark.parametrize("label", LAYOUTS)
def test_every_layout_is_recognised_and_read_alike(label, tmp_path):
    folder = tmp_path / "mein Ordner"
    WRITERS[label](folder)
    assert find_layout(folder).label == label
    dataset = open_dataset(str(folder))
    assert dataset.problems == ()
    found = content_of(dataset)
    assert {content: captions for content, (captions, _) in found.items()} == {
        picture(number): CAPTIONS[number] for number in range(6)
    }
    if label not in WITHOUT_SPLITS:
        assert {content: split for content, (_, split) in found.items()} == {
            picture(number): SPLIT_OF[number] for number in range(6)
        }
    named = open_dataset(str(folder), layout=label)
    assert content_of(named) == found


@pytest.mark.parametrize("label", LAYOUTS)
def test_a_name_that_does_not_fit_is_one_error_that_says_what_was_expected(label, tmp_path):
    (tmp_path / "notes.md").write_text("nothing here")
    with pytest.raises(DataError, match=str(tmp_path).replace("\\", ".")):
        find_layout(tmp_path, label)


@pytest.mark.parametrize(
    "label", ["kaggle", "flickr30k", "karpathy", "coco", "json-lines", "table", "caption-list", "parquet", "shards"]
)
def test_a_file_can_be_named_instead_of_its_folder(label, tmp_path):
    WRITERS[label](tmp_path)
    for file in find_layout(tmp_path).files:
        found = find_layout(file)
        assert (found.label, found.files) == (label, (file,))


def problems_of(folder, **options):
    reported = []
    layout = find_layout(folder, **options)
    entries = list(layout.entries(reported.append))
    return entries, [(problem.name, problem.reason) for problem in reported]


@pytest.mark.parametrize(
    ("label", "file", "line", "place", "expected"),
    [
        ("kaggle", "captions.txt", "no comma at all", "captions.txt line 14", "not name,caption"),
        ("flickr30k", "results.csv", "a.jpg| 4 A dog", "results.csv line 14", "not name| number| caption"),
        ("table", "list.csv", "1;2", "list.csv line 14", "2 cells, expected 4 (Nr, Image Path, Description, Split)"),
        ("table", "list.csv", "1;;a dog;train", "list.csv line 14", "no name of a picture in Image Path"),
        ("json-lines", "captions.jsonl", "{broken", "captions.jsonl line 14", "not a JSON object"),
        ("json-lines", "captions.jsonl", '{"image": "a", "caption": 3}', "captions.jsonl line 14", "caption is not"),
        ("imagefolder", "train/metadata.jsonl", '{"text": "a"}', "train/metadata.jsonl line 6", "no name of a picture"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_file_and_line(label, file, line, place, expected, tmp_path):
    WRITERS[label](tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as opened:
        opened.write(("" if label in ("kaggle", "flickr30k", "table") else "\n") + "\n" + line + "\n")
    entries, problems = problems_of(tmp_path)
    ((where, reason),) = problems
    number = int(place.rpartition(" ")[2])
    assert where in (place, f"{place.rpartition(' ')[0]} {number + 1}")
    assert expected in reason
    assert entries


def test_json_of_coco_names_what_is_wrong_in_its_lists(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}, {"id": 2}, "x"]
    annotations = [{"image_id": 1, "caption": "A dog"}, {"image_id": 9, "caption": "A cat"}, {"image_id": 1}, 7]
    (tmp_path / "captions_mine.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    entries, problems = problems_of(tmp_path)
    assert [(entry.name, entry.captions) for entry in entries] == [("a.png", ()), ("a.png", ("A dog",))]
    assert problems == [
        ("captions_mine.json image 2", "the id 1 is another image's; left out"),
        ("captions_mine.json image 3", "not an id and a file_name; left out"),
        ("captions_mine.json image 4", "not an id and a file_name; left out"),
        ("captions_mine.json annotation 2", "there is no image 9; left out"),
        ("captions_mine.json annotation 3", "not an image_id and a caption; left out"),
        ("captions_mine.json annotation 4", "not an image_id and a caption; left out"),
    ]


def test_a_json_file_that_breaks_off_is_named(tmp_path):
    write_karpathy(tmp_path)
    file = tmp_path / "dataset_coco.json"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"dataset_coco.json is not JSON .* cut short: get it again"):
        list(find_layout(tmp_path).entries(pytest.fail))


def test_a_shard_that_breaks_off_is_named_with_the_last_member(tmp_path):
    write_shards(tmp_path)
    shard = tmp_path / "train-001.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"train-001.tar .* breaks off after .*00000"):
        list(find_layout(tmp_path).entries(pytest.fail))


def test_shards_name_members_without_their_other_half(tmp_path):
    with tarfile.open(tmp_path / "mine.tar", "w") as tar:
        add_member(tar, "1.png", picture(1))
        add_member(tar, "2.txt", b"A dog")
        add_member(tar, "3.png", picture(3))
        add_member(tar, "3.json", b"[1")
        add_member(tar, "4.png", picture(4))
        add_member(tar, "4.txt", b"caf\xe9")
    entries, problems = problems_of(tmp_path)
    assert [(entry.name, entry.captions) for entry in entries] == [("mine/1", ())]  # named by the collection later
    assert problems == [
        ("mine.tar member 2", "no picture of this name in the shard; left out"),
        ("mine.tar member 3", "its .json is not an object of JSON; left out"),
        ("mine.tar member 4", "byte 4 of its text is not UTF-8; left out"),
    ]


def test_shards_hold_what_the_library_webdataset_reads(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    write_shards(tmp_path)
    expected = {}
    shards = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        samples = list(webdataset.WebDataset(shards, shardshuffle=False))
        gc.collect()
    for sample in samples:
        text = sample.get("txt")
        captions = json.loads(sample["json"])["caption"] if text is None else text.decode().splitlines()
        expected[sample["png"]] = tuple(captions)
    found = {content: captions for content, (captions, _) in content_of(open_dataset(str(tmp_path))).items()}
    assert found == expected


def test_parquet_that_names_its_pictures(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_pictures(tmp_path / "pictures")
    table = {"photo": [file_name(number) for number in range(6)], "alt_text": [CAPTIONS[n][0] for n in range(6)]}
    parquet.write_table(pyarrow.table(table), tmp_path / "list.parquet")
    assert "it names the pictures" in find_layout(tmp_path).reading
    found = content_of(open_dataset(str(tmp_path)))
    assert {content: captions for content, (captions, _) in found.items()} == {
        picture(number): CAPTIONS[number][:1] for number in range(6)
    }


def test_pictures_of_a_large_row_group_are_found_in_any_order_in_little_memory(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [bytes([number]) * 1_000_000 for number in range(120)]
    table = pyarrow.table({"image": cells, "caption": [f"picture {number}" for number in range(120)]})
    parquet.write_table(table, tmp_path / "large.parquet", write_batch_size=1, use_dictionary=False, compression="none")
    del table
    layout = find_layout(tmp_path / "large.parquet")
    sources = [layout.source(entry.name, entry.locator) for entry in layout.entries(lambda *_: None)]
    before = pyarrow.total_allocated_bytes()
    order = [*range(120), 0, 119, *np.random.default_rng(0).integers(120, size=20).tolist()]
    for number in order:
        assert sources[number].read_bytes() == cells[number]
        assert pyarrow.total_allocated_bytes() - before < 60_000_000


def test_columns_are_found_or_named(tmp_path):
    write_pictures(tmp_path)
    lines = ["key\tsaid\tseen", *(f"{n}\tA dog {n}\t{file_name(n)}" for n in range(6))]
    (tmp_path / "mine.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"no column is called like pictures.*--image-column.*key, said, seen"):
        find_layout(tmp_path / "mine.tsv")
    with pytest.raises(DataError, match=r"no column 'sean', which --image-column names; it has: key, said, seen"):
        find_layout(tmp_path / "mine.tsv", columns=Columns("sean", "said"))
    columns = Columns("seen", "said")
    layout = find_layout(tmp_path, columns=columns)
    assert layout.reading == "a table with tabs: pictures in seen, captions in said"
    assert [entry.captions for entry in layout.entries(pytest.fail)] == [(f"A dog {n}",) for n in range(6)]


def test_several_columns_and_lists_of_captions_are_all_taken(tmp_path):
    write_pictures(tmp_path)
    text = 'file,caption_1,caption_2\n"bild 0.png",one,"[""two"", ""three""]"\n'
    (tmp_path / "list.csv").write_text(text)
    (entry,) = find_layout(tmp_path).entries(pytest.fail)
    assert entry.captions == ("one", "two", "three")


def test_a_text_without_a_picture_and_a_picture_without_a_text_are_named(tmp_path):
    write_sidecar(tmp_path)
    (tmp_path / "train" / "alone.txt").write_text("A dog")
    (tmp_path / "train" / "bare.png").write_bytes(picture(9))
    (tmp_path / ".hidden.png").write_bytes(picture(10))
    dataset = open_dataset(str(tmp_path))
    assert [(problem.name, problem.reason.partition(";")[0]) for problem in dataset.problems] == [
        ("train/alone.txt", "no picture of this name beside it"),
        ("train/bare.png", "in train, but has no caption"),
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_train2017", "train"), ("validation-00000-of-00002", "dev"), ("VAL", "dev"), ("restval", "train"),
        ("test-000", "test"), ("training_set", "train"), ("contest", ""), ("train_val", ""), ("captions", ""),
    ],
)  # fmt: skip
def test_names_of_files_speak_of_splits(name, split):
    assert split_in(name) == split


@pytest.mark.parametrize(
    "label", ["kaggle", "flickr30k", "table", "json-lines", "caption-list", "karpathy", "flickr", "coco"]
)
def test_memory_stays_the_same_however_long_the_file(label, tmp_path):
    def write(folder, count):
        folder.mkdir()
        names = [f"{number}.jpg" for number in range(count)]
        text = {
            "kaggle": lambda: "image,caption\n" + "".join(f"{name},A dog\n" for name in names),
            "flickr30k": lambda: "image_name| comment_number| comment\n" + "".join(f"{n}| 0| A dog\n" for n in names),
            "table": lambda: "image,text\n" + "".join(f"{name},A dog\n" for name in names),
            "json-lines": lambda: "".join(f'{{"image": "{name}", "text": "A dog"}}\n' for name in names),
            "caption-list": lambda: json.dumps([{"image": name, "captions": ["A dog"]} for name in names]),
            "karpathy": lambda: json.dumps(
                {"images": [{"filename": n, "split": "train", "sentences": [{"raw": "A dog"}]} for n in names]}
            ),
            "flickr": lambda: "".join(f"{name}#0\tA dog\n" for name in names),
            "coco": lambda: json.dumps(
                {
                    "images": [{"id": place, "file_name": name} for place, name in enumerate(names)],
                    "annotations": [{"image_id": place, "caption": "A dog"} for place in range(count)],
                }
            ),
        }[label]()
        file = {"flickr": "Flickr8k.token.txt", "kaggle": "captions.txt", "flickr30k": "results.csv", "table": "a.csv"}
        ending = "dataset.json" if label == "karpathy" else "captions_a.json" if label == "coco" else "a.json"
        (folder / file.get(label, "a.jsonl" if label == "json-lines" else ending)).write_text(text)

    def peak(count):
        folder = tmp_path / str(count)
        write(folder, count)
        layout = find_layout(folder)
        assert layout.label == label
        tracemalloc.start()
        found = sum(bool(entry.captions) for entry in layout.entries(pytest.fail))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found == count
        return most

    peak(100)  # what is loaded once
    few, many = peak(3_000), peak(12_000)  # more than the readers take ahead
    assert many < 1.1 * few + 50_000


def test_small_files_of_json_are_read_without_the_library_for_large_ones(tmp_path, monkeypatch):
    for label in ("coco", "karpathy", "caption-list"):
        WRITERS[label](tmp_path / label)
    before = {label: content_of(open_dataset(str(tmp_path / label))) for label in ("coco", "karpathy", "caption-list")}
    monkeypatch.setitem(sys.modules, "ijson", None)
    for label, content in before.items():
        assert find_layout(tmp_path / label).label == label
        assert content_of(open_dataset(str(tmp_path / label))) == content
    (tmp_path / "coco" / "more.json").write_text("[" * 100_000)
    assert find_layout(tmp_path / "coco").label == "coco"


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_may_be_composed_otherwise_than_on_the_disk(forms, tmp_path):
    on_disk, written = (unicodedata.normalize(form, "Blüte à côté.png") for form in forms)
    (tmp_path / on_disk).write_bytes(picture(0))
    (tmp_path / "list.csv").write_text(f"image,caption\n{written},A flower\n", encoding="utf-8")
    layout = find_layout(tmp_path)
    (entry,) = layout.entries(pytest.fail)
    assert layout.source(entry.name, entry.locator).read_bytes() == picture(0)
