"""Captions as a page to look at: each picture with its caption, a few hundred on a page, and nothing from elsewhere.

gallery.html  gallery-2.html …      pictures are linked, not copied; `captions.jsonl`-like lines lie beside it:
gallery.html.jsonl                  what the pages are made of, whenever a job ends
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterator, Sequence
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from captioner.batch.appending import read_records, unfinished
from captioner.batch.sinks.json_lines import JsonLinesSink
from captioner.batch.work import Item, Outcome, key_of
from captioner.errors import CaptionerError, printable

ON_A_PAGE = 500
_BEGINNING = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="captioner batch">'
)
"""Of every page: by it ours are told from others, which are never written over."""
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 1rem/1.4 system-ui, sans-serif; margin: 1.5rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; }
img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: #8881; }
figcaption { padding: .5rem .75rem; }
small { display: block; opacity: .7; overflow-wrap: anywhere; }
nav a { display: inline-block; min-width: 1.5rem; padding: .25rem; text-align: center; }
nav a[aria-current] { font-weight: bold; }
"""


class GallerySink:
    """See `Sink`."""

    def __init__(self, path: Path, home: Path, *, fresh: bool = False) -> None:
        """Make the page at `path`, and further ones beside it; pictures are found below `home`, the source's folder."""
        self.place = str(path)
        self.papers = path
        self._path, self._home = path, home
        self._records = JsonLinesSink(path.with_name(f"{path.name}.jsonl"), fresh=fresh)

    def __enter__(self) -> GallerySink:
        self._refuse_pages_of_others()
        self._records.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._records.__exit__(*error)
        self._write_pages()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        self._refuse_pages_of_others()
        return self._records.peek()

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return self._records.has(item)

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        return self._records.write(outcomes)

    def _refuse_pages_of_others(self) -> None:
        """Raise CaptionerError when a page that may be written, or removed, is somebody else's."""
        further = self._path.parent.glob(f"{escape(self._path.stem)}-*{escape(self._path.suffix)}")
        numbered = (path for path in further if path.stem[len(self._path.stem) + 1 :].isdecimal())
        for path in (self._path, *numbered):
            if path.exists() and not _is_ours(path):
                raise CaptionerError(f"{path} is no page of a gallery; choose another name", code="output")

    def _write_pages(self) -> None:
        """All pages anew, each whole as soon as it has its name; pages of a larger gallery before are removed."""
        records = read_records(Path(self._records.place))
        count = sum(1 for _ in read_records(Path(self._records.place)))
        pages = max(1, -(-count // ON_A_PAGE))
        for number in range(1, pages + 1):
            temporary = unfinished(self._path)
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(self._page(islice(records, ON_A_PAGE), number, pages, count))
            temporary.replace(self._page_path(number))
        number = pages + 1
        while (path := self._page_path(number)).exists():
            path.unlink()
            number += 1

    def _page_path(self, number: int) -> Path:
        return self._path if number == 1 else self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")

    def _page(self, records: Iterator[dict[str, Any]], number: int, pages: int, count: int) -> Iterator[str]:
        title = f"{count:,} captions"
        yield f"{_BEGINNING}<title>{title}</title>"
        yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        yield f"<body><h1>{title}</h1>\n{self._navigation(number, pages)}<main>\n"
        for fields in records:
            caption = html.escape(str(fields.get("caption")))
            name = html.escape(printable(str(fields.get("path"))))
            image = self._image(fields, caption)
            yield f"<figure>{image}<figcaption>{caption}<small>{name}</small></figcaption></figure>\n"
        yield f"</main>\n{self._navigation(number, pages)}</body></html>\n"

    def _navigation(self, here: int, pages: int) -> str:
        if pages == 1:
            return ""
        current = ' aria-current="page"'
        links = (
            f'<a href="{html.escape(quote(self._page_path(number).name))}"'
            f"{current if number == here else ''}>{number}</a>"
            for number in range(1, pages + 1)
        )
        return f'<nav aria-label="Pages">{" ".join(links)}</nav>\n'

    def _image(self, fields: dict[str, Any], caption: str) -> str:
        """The picture; nothing for one that is no file of its own, as those in archives."""
        # Not Path.exists, which raises for names that no system takes; archives may have such.
        if not os.path.exists(self._home / key_of(fields)):  # noqa: PTH110
            return ""
        return f'<img loading="lazy" alt="{caption}" src="{html.escape(self._link(fields))}">'

    def _link(self, fields: dict[str, Any]) -> str:
        """The address of a picture, from the page; without a drive in it, as Windows has them."""
        try:
            relative = os.path.relpath(self._home / key_of(fields), self._path.parent)
        except ValueError:  # on another drive
            return (self._home / key_of(fields)).absolute().as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))


def _is_ours(path: Path) -> bool:
    beginning = _BEGINNING.encode()
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning
