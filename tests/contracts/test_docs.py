"""The documentation says what the code does: links lead somewhere, commands and options exist, tables are equal."""

import importlib.util
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from captioner import images
from captioner.cli.build import SECTIONS

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.exists()
]
pytestmark = pytest.mark.skipif(not PAGES, reason="the documentation is not part of the wheel")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_code_spans_exist(page):
    named = re.findall(
        r"`((?:captioner|configs|tests|benchmarks|docs)/[\w/.]+\.\w+)`", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_and_flags_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", text)) - {"up"} <= targets
    known = {field.name for kind in SECTIONS.values() for field in fields(kind)}
    known |= {"config", "from", "out", "cache", "help"}
    inference = set(re.findall(r'"--([a-z-]+)"', read("captioner/cli/caption.py")))
    inference = {flag.replace("-", "_") for flag in inference}
    for line in re.findall(r"^python (?:build_and_run|run_captioner)\.py.*$", text, re.MULTILINE):
        flags = {flag.replace("-", "_") for flag in re.findall(r"--([a-z-]+)", line)}
        assert flags <= (known if "build_and_run" in line else inference), line
        assert all((ROOT / recipe).exists() for recipe in re.findall(r"configs/\S+\.yaml", line)), line


def test_the_readme_names_every_file_of_the_package():
    tree = re.search(r"```text\n(captioner/\n.*?)```", read("README.md"), re.DOTALL)[1]
    named = re.findall(r"(\w+\.py)\b", tree.split("build_and_run.py")[0])
    files = [
        path
        for path in (ROOT / "captioner").rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "captioner"
    ]
    assert sorted(named) == sorted(path.name for path in files)


@pytest.mark.parametrize("kind", SECTIONS.values(), ids=lambda kind: kind.__name__)
def test_the_table_of_options_is_that_of_the_code(kind):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", read("docs/options.md"), re.MULTILINE))
    arguments = inspect.getdoc(kind).split("Args:")[1]
    texts = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", arguments, re.MULTILINE | re.DOTALL))
    for field in fields(kind):
        assert rows[field.name] == f"`{field.default!r}` | {' '.join(texts[field.name].split())}"


def test_the_limits_on_pictures_are_those_of_the_code():
    page = read("docs/pictures.md")
    assert f"| {images.MAX_FILE_BYTES:,} |" in page
    assert f"| {images.MAX_PIXELS:,} |" in page
    assert all(name in page for name in ("JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "AVIF"))


def test_every_dependency_is_explained():
    import tomllib

    project = tomllib.loads(read("pyproject.toml"))["project"]
    required = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    page = read("docs/dependencies.md").lower()
    assert [name for name in (re.match(r"[\w-]+", each)[0].lower() for each in required) if name not in page] == []


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("yaml") is None, reason="recipes are for training")
def test_recipes_have_no_unknown_keys():
    import yaml

    known = {field.name for kind in SECTIONS.values() for field in fields(kind)} | {"out", "cache", "from"}
    for recipe in (ROOT / "configs").glob("*.yaml"):
        assert set(yaml.safe_load(recipe.read_text(encoding="utf-8"))) <= known, recipe.name
