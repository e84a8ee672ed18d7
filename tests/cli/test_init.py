"""`captioner init`: the recipe that it writes is one that a build reads as it stands."""

import json
import shutil

import pytest
from conftest import ROOT, run
from PIL import Image

from captioner.datasets.examine import Examination
from captioner.datasets.layout import Columns
from captioner.recipe import recipe_for

pytestmark = pytest.mark.skipif(not (ROOT / "build_and_run.py").exists(), reason="needs the repository")


def examination(train, *, language="English", captions=5, **changed):
    facts = {
        "data": "x", "layout": "flickr8k", "reading": "", "files": (), "own_splits": True, "findings": (),
        "splits": {"train": train, "dev": 1 + train // 10}, "pictures": train + 1 + train // 10,
        "captions": captions * train, "captions_per_picture": (captions, float(captions), captions),
        "words_per_caption": (2, 8.0, 17), "language": language, "vocabulary": {1: 900, 2: 500, 3: 400, 5: 300, 10: 90},
        "samples": (),
    }  # fmt: skip
    return Examination(**{**facts, **changed})


def options_of(text, tmp_path):
    """What a build makes of a recipe."""
    pytest.importorskip("torch")
    from captioner.cli.build import parse

    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    config, _ = parse(["--config", str(tmp_path / "recipe.yaml")])
    return config


@pytest.mark.torch
@pytest.mark.parametrize("train", [1, 32, 900, 3_000, 6_000, 30_000, 1_000_000])
def test_every_recipe_is_one_that_a_build_reads(train, tmp_path):
    text = recipe_for(examination(train, language="German"), "my data/ü", Columns("file name", "text"))
    config = options_of(text, tmp_path)
    assert (config.data.data, config.data.format) == ("my data/ü", "flickr8k")
    assert (config.data.image_column, config.data.caption_column) == ("file name", "text")
    assert (config.encoder.encoder, config.data.max_words) == ("builtin", 17)
    assert config.decoder.decoder == ("lstm" if train < 4_000 else "attention")


@pytest.mark.torch
def test_more_pictures_get_a_larger_network_and_rarer_words_are_left_out(tmp_path):
    sizes = [32, 3_000, 6_000, 30_000]
    configs = [options_of(recipe_for(examination(size, language="German"), "x", Columns()), tmp_path) for size in sizes]
    hidden = [config.decoder.hidden for config in configs]
    assert hidden == sorted(set(hidden))
    assert [config.data.min_count for config in configs] == [1, 2, 3, 5]
    assert [config.train.epochs for config in configs] == sorted([config.train.epochs for config in configs])[::-1]


def test_few_pictures_with_english_captions_go_on_from_the_captioner_that_ships():
    text = recipe_for(examination(32), "x", Columns())
    assert "\nfrom: pretrained" in text
    assert "hidden:" not in text
    assert "batch_size: 8" in text
    assert "from:" not in recipe_for(examination(32, language="German"), "x", Columns())
    assert "from:" not in recipe_for(examination(6_000), "x", Columns())
    assert "from:" not in recipe_for(examination(32), "x", Columns(), encoder="builtin")
    assert '\nfrom: "runs/mine"' in recipe_for(examination(6_000), "x", Columns(), start="runs/mine")


def test_text_that_yaml_would_take_for_something_else_is_quoted():
    text = recipe_for(examination(32, language="German"), "no", Columns("yes", "a: b # c"))
    assert 'data: "no"' in text
    assert 'image_column: "yes"' in text
    assert 'caption_column: "a: b # c"' in text


def test_a_recipe_is_written_once_and_what_to_type_next_is_said(tmp_path):
    folder = tmp_path / "flowers"
    (folder / "images").mkdir(parents=True)
    names = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(names):
        Image.radial_gradient("L").rotate(7 * number).resize((40, 30)).save(folder / "images" / name)
    (folder / "Flickr8k.token.txt").write_text("".join(f"{name}#0\tA flower .\n" for name in names))
    done = run("-m", "captioner", "init", "flowers", "--encoder", "builtin", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "flowers.yaml\n")
    assert "python build_and_run.py --config flowers.yaml" in done.stderr
    assert "data: flowers" in (tmp_path / "flowers.yaml").read_text(encoding="utf-8")

    before = (tmp_path / "flowers.yaml").read_bytes()
    done = run("-m", "captioner", "init", "flowers", cwd=tmp_path)
    assert done.returncode == 2
    assert "flowers.yaml is there already" in done.stderr
    assert (tmp_path / "flowers.yaml").read_bytes() == before
    assert run("-m", "captioner", "init", "flowers", "--force", cwd=tmp_path).returncode == 0
    assert json.dumps("pretrained").strip('"') in (tmp_path / "flowers.yaml").read_text(encoding="utf-8")

    shutil.rmtree(folder / "images")
    done = run("-m", "captioner", "init", "flowers", "--out", "new.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "no pictures with captions are left" in done.stderr
    assert not (tmp_path / "new.yaml").exists()


def test_captions_without_spaces_are_not_cut_short(tmp_path):
    folder = tmp_path / "图片"
    folder.mkdir()
    for number in range(6):
        Image.radial_gradient("L").rotate(7 * number).resize((40, 30)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("一个红色的圆形在两颗蓝色的星星的左边", encoding="utf-8")
    done = run("-m", "captioner", "init", "图片", "--out", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "max_words: 18" in (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
