"""`captioner evaluate` and `captioner compare`, as a user types them: no model, no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COLOURS = ["red", "green", "blue", "white", "black", "brown", "grey", "pink", "orange", "purple", "yellow", "gold"]
REFERENCES = {
    f"{colour}.jpg": [f"a {colour} ball rolls over the grass", f"the {colour} ball", "a ball on grass"]
    for colour in COLOURS
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "captioner", *map(str, arguments)], capture_output=True, text=True, encoding="utf-8"
    )


def predictions(folder: Path, name: str, captions: dict[str, str], *, with_references: bool = True) -> Path:
    path = folder / name
    rows = [
        {"image_id": key, "caption": text} | ({"references": REFERENCES[key]} if with_references else {})
        for key, text in captions.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def reference_folder(folder: Path) -> Path:
    rows = [f"{name}#{number}\t{text}" for name, texts in REFERENCES.items() for number, text in enumerate(texts)]
    (folder / "Flickr8k.token.txt").write_text("\n".join(rows), encoding="utf-8")
    return folder


GOOD = {name: f"a {name.removesuffix('.jpg')} ball rolls on grass" for name in REFERENCES}
WORSE = dict.fromkeys(REFERENCES, "a ball rolls on grass")


def test_one_json_object_with_every_metric(tmp_path: Path) -> None:
    path = predictions(tmp_path, "p.jsonl", GOOD, with_references=False)
    done = run("evaluate", "--predictions", path, "--references", reference_folder(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "CIDEr-D", "METEOR", "SPICE"]
    assert sorted(found["scores"]) == sorted(names)
    for name, score in found["scores"].items():
        if score["value"] is None:
            assert name in ("METEOR", "SPICE")
            assert score["reason"]
        else:
            assert score["interval"][0] <= score["value"] <= score["interval"][1]
            assert score["signature"].startswith(f"{name}|tok:ptb|refs:3|variant:")
    assert found["pictures"] == 12
    assert found["framing"]["people"]["scores"]["CIDEr"]["signature"].split("|")[2] == "refs:2"
    assert found["framing"]["constant"]["scores"]["CIDEr"]["value"] < found["scores"]["CIDEr"]["value"]
    assert list(found["tutorial"]) == [f"Tutorial BLEU-{order}" for order in range(1, 5)]


def test_the_table_is_for_people(tmp_path: Path) -> None:
    saved = tmp_path / "all.json"
    done = run(
        "evaluate",
        "--predictions",
        predictions(tmp_path, "p.jsonl", WORSE),
        "--metrics",
        "cider,bleu-4",
        "--save",
        saved,
    )
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert table[0] == "12 pictures, references from the file of predictions"
    assert table[1].split() == ["captions", "people", "constant"]
    assert [line.split()[0] for line in table[2:4]] == ["BLEU-4", "CIDEr"]
    assert sum("tok:ptb" in line for line in table) == 1
    assert any("The same caption for 100% of pictures" in line and line.startswith("  ! ") for line in table)
    assert not any("ROUGE-L" in line for line in table)
    per_image = json.loads(saved.read_text(encoding="utf-8"))["scores"]["CIDEr"]["per_image"]
    assert sorted(per_image) == sorted(REFERENCES)


def test_empty_captions_are_reported_by_name(tmp_path: Path) -> None:
    done = run(
        "evaluate", "--predictions", predictions(tmp_path, "p.jsonl", {**GOOD, "red.jpg": " "}), "--metrics", "CIDEr"
    )
    assert done.returncode == 0
    assert "no words in the caption of red.jpg; scored as they are" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--predictions", "p.jsonl", "--references", "nowhere"], 2, "neither a known name nor a folder"),
        (["--predictions", "nowhere.jsonl"], 2, "cannot read nowhere.jsonl"),
        (["--predictions", "p.jsonl", "--metrics", "SPIDEr"], 2, "there is no metric 'SPIDEr'"),
        (["--predictions", "p.jsonl", "--split", "dev"], 2, "name that with --references"),
        (["--predictions", "p.jsonl", "--references", "scenes"], 1, "no references for red.jpg"),
        (["--predictions", "marked.jsonl"], 1, "marker startseq"),
        (["--predictions", "p.jsonl", "--save", "no/such/folder/x.json"], 1, "cannot write"),
        ([], 2, "--predictions"),
    ],
)
def test_what_is_refused_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    predictions(tmp_path, "p.jsonl", GOOD)
    predictions(tmp_path, "marked.jsonl", {key: f"startseq {text} endseq" for key, text in GOOD.items()})
    done = run("evaluate", *arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_compare_says_whether_it_is_real(tmp_path: Path) -> None:
    good, worse = predictions(tmp_path, "good.jsonl", GOOD), predictions(tmp_path, "worse.jsonl", WORSE)
    done = run("compare", worse, good)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("B is better than A by ")
    assert "the difference is real" in done.stdout
    one = predictions(tmp_path, "one.jsonl", {**GOOD, "red.jpg": "a red ball rolls on the grass"})
    assert "no real difference" in run("compare", good, one).stdout
    assert "A and B have the same CIDEr" in run("compare", good, good).stdout


def test_compare_in_json_and_with_references_elsewhere(tmp_path: Path) -> None:
    good = predictions(tmp_path, "good.jsonl", GOOD, with_references=False)
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps([{"image_id": key, "caption": text} for key, text in reversed(WORSE.items())]))
    found = json.loads(run("compare", good, coco, "--references", reference_folder(tmp_path), "--json").stdout)
    cider = found["differences"]["CIDEr"]
    assert cider["difference"] == pytest.approx(cider["second"] - cider["first"])
    assert cider["is_real"]
    assert found["verdict"].startswith("A is better than B by")


def test_files_of_different_pictures_cannot_be_compared(tmp_path: Path) -> None:
    good = predictions(tmp_path, "good.jsonl", GOOD)
    fewer = predictions(tmp_path, "fewer.jsonl", {key: text for key, text in GOOD.items() if key != "red.jpg"})
    done = run("compare", good, fewer)
    assert done.returncode == 1
    assert "no prediction for red.jpg" in done.stderr
    assert run("compare", good, good, "--samples", "3").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = predictions(tmp_path, "p.jsonl", GOOD)
    command = [sys.executable, "-m", "captioner", "evaluate", "--predictions", str(path), "--metrics", "CIDEr"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot write to stdout" in done.stderr
