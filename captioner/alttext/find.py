"""The pages below folders, and which of their images a text can be written for. Opens no picture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from captioner.alttext.document import Document, read_file
from captioner.alttext.encoding import Markup
from captioner.alttext.pictures import NotFollowed, Picture, Site, locate
from captioner.alttext.records import Image, Text
from captioner.batch.walk import Which, walk
from captioner.errors import ConfigError, DataError, printable
from captioner.images import FileSource

_MARKUPS = {
    ".html": Markup.HTML,
    ".htm": Markup.HTML,
    ".xhtml": Markup.XHTML,
    ".xht": Markup.XHTML,
    ".md": Markup.MARKDOWN,
    ".markdown": Markup.MARKDOWN,
    ".mdx": Markup.MDX,
}
"""What files are written in by their names' ends; all others, when they are asked for, are read as HTML."""
_SCRIPTS = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx")
"""What is no page though tags are in it: a text put into a string of JavaScript could end it."""
_FOREIGN = ("node_modules", "__pycache__", "bower_components")
"""Folders with the work of others."""


@dataclass(frozen=True)
class Candidate:
    """An image that a text can be written for."""

    image: Image
    """The image."""
    line: int
    """Where it is, from 1."""
    column: int
    """In characters, from 1."""
    picture: Picture
    """What is to be seen."""


@dataclass(frozen=True)
class Page:
    """A page with images that have no text."""

    path: Path
    """Its file."""
    patched: bytes
    """Its path in a diff: below the folder that the command was started in, or else below the one that was named."""
    document: Document
    """Its content."""
    candidates: tuple[Candidate, ...]
    """The images, in order."""


@dataclass
class Account:
    """What came of it all, counted; grows while pages are read and captions written."""

    tell: Callable[[str], None]
    """Takes a line about something that went wrong."""
    pages: int = 0
    """Pages that were read."""
    texts: Counter[Text] = field(default_factory=Counter)
    """Images by what they had."""
    proposed: int = 0
    """Texts that were written."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Images that nothing was written for, by reason."""
    failed: int = 0
    """Pictures and files that could not be read or written."""

    def fail(self, what: str) -> None:
        """One more that failed."""
        self.failed += 1
        self.tell(printable(what))


@dataclass(frozen=True)
class Where:
    """Which pages are meant."""

    paths: tuple[str, ...]
    """Files and folders."""
    include: tuple[str, ...] = ()
    """Patterns of names; empty takes what the suffix says is a page."""
    exclude: tuple[str, ...] = ()
    """Patterns of files and folders to leave out."""
    root: str = ""
    """What addresses that begin with `/` are in; empty takes the folder that is named, and for a file the one that the
    command was started in, or that of the file when it lies elsewhere."""

    def check(self) -> None:
        """Raise ConfigError when a path is not there."""
        if self.root and not Path(self.root).is_dir():
            raise ConfigError(f"--root: {self.root} is no folder")
        for name in self.paths:
            if not os.path.lexists(name):
                raise ConfigError(f"{name}: no such file or folder")

    def site_of(self, path: Path) -> Site:
        """The site of a path that was named."""
        here, folder = Path.cwd().resolve(), _folder_of(path)
        home = here if not path.is_dir() and folder.is_relative_to(here) else folder
        root = Path(os.path.realpath(self.root)) if self.root else home
        return Site(root if folder.is_relative_to(root) else home, root)


def pages(where: Where, account: Account) -> Iterator[Page]:
    """The pages that have images without a text, in order, each once.

    Args:
        where: they are.
        account: counts what is met.
    """
    seen: set[str] = set()
    for name in where.paths:
        for path, patched in _files(name, where, account):
            identity = os.path.realpath(path)
            if identity in seen:
                continue
            seen.add(identity)
            page = _page(path, patched, where.site_of(Path(name)), account)
            if page is not None:
                yield page


def _files(name: str, where: Where, account: Account) -> Iterator[tuple[Path, bytes]]:
    """Path, and path in a diff, of each file that a name stands for."""
    named = Path(name)
    if not named.is_dir():
        yield named, _below_here(named, PurePath(named.name))
        return

    def skipped(path: str, reason: str) -> None:
        if not os.access(path, os.R_OK):
            account.fail(f"{path}: {reason}")
        elif Path(path).is_symlink():  # all else is met elsewhere
            account.tell(printable(f"{path}: a link out of the folder is not followed"))

    include = where.include or tuple("*" + "".join(f"[{c}{c.upper()}]" for c in suffix) for suffix in _MARKUPS)
    which = Which(include, (*_FOREIGN, *where.exclude))
    for key, path in walk(named, which, skipped):
        yield path, _below_here(path, PurePath(key))


def _page(path: Path, patched: bytes, site: Site, account: Account) -> Page | None:
    """The page in a file; None when it cannot be read, or has no image that a text can be written for."""
    try:
        if path.suffix.lower() in _SCRIPTS:
            raise DataError("is JavaScript; only HTML and Markdown are read, and other templates as HTML")
        document = Document.of(read_file(path), _MARKUPS.get(path.suffix.lower(), Markup.HTML))
    except DataError as error:
        account.fail(f"{path}: {error.message}")
        return None
    account.pages += 1
    scan = document.scan
    folder = _folder_of(path)
    found: list[Candidate] = []
    for image in scan.images:
        account.texts[image.text] += 1
        if image.text is not Text.MISSING:
            continue
        picture = (
            NotFollowed(image.unknown)
            if image.unknown
            else locate(image.source, folder=folder, site=site, base=scan.base)
        )
        line, column = document.place(image.start)
        if isinstance(picture, NotFollowed):
            account.skipped[picture.reason] += 1
        elif isinstance(picture, FileSource) and not os.path.lexists(picture.path):
            hint = " (--root says which folder / is)" if image.source.startswith("/") else ""
            account.fail(f"{path}:{line}:{column}: there is no picture {image.source}{hint}")
        else:
            found.append(Candidate(image, line, column, picture))
    return Page(path, patched, document, tuple(found)) if found else None


def _folder_of(path: Path) -> Path:
    """The folder itself, or that of a file, without links in it; a file's own link does not count."""
    return Path(os.path.realpath(path if path.is_dir() else path.parent))


def _below_here(path: Path, otherwise: PurePath) -> bytes:
    """A file's path from here on without links in it, which neither `patch` nor `git apply` follows."""
    relative: Sequence[str] = Path(os.path.relpath(os.path.realpath(path), os.path.realpath("."))).parts
    return os.fsencode(otherwise.as_posix() if relative[:1] == ("..",) else "/".join(relative))
