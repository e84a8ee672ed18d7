"""A small site for the tests of `captioner alt`: pictures, pages, the command."""

from pathlib import Path

import numpy as np
from conftest import run
from PIL import Image

ALT = ("-m", "captioner", "alt")
PICTURES = ("a.png", "b.jpg", "c.webp")
FOUND = '<p>\n<img src="/img/a.png" width=3>\n</p>\n'


def draw(path: Path, seed: int) -> None:
    """A picture that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(path)


def make_site(parent: Path) -> Path:
    """The folder `site` with three pictures; pages are what each test is about."""
    for seed, name in enumerate(PICTURES):
        draw(parent / "site" / "img" / name, seed)
    return parent / "site"


def write(site: Path, **pages: str | bytes) -> None:
    """Pages by name, two underscores for a dot and HTML when there is none."""
    for name, content in pages.items():
        file = site / (name.replace("__", ".") if "__" in name else f"{name}.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


def alt(site: Path, *arguments: object, **options):
    """The command, started beside the site."""
    return run(*ALT, *map(str, arguments or ("site",)), cwd=site.parent, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
