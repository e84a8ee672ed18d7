"""Captions become alternative texts: each picture is captioned once, each page gets all its texts at once.

Takes the captioner as a function, and writes only where it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from captioner.alttext.difference import unified_diff
from captioner.alttext.document import Document, Insertion, replace_file
from captioner.alttext.escape import as_insertion, one_line, shortened
from captioner.alttext.find import Account, Candidate, Page
from captioner.alttext.pictures import Picture
from captioner.alttext.records import Text
from captioner.errors import CaptionerError, DataError, ImageError
from captioner.types import Caption

UNSURE, SILENT = "a caption that is too unsure (--min-confidence)", "a caption without words"
Captioning = Callable[[Iterable[Picture]], Iterator[Caption | CaptionerError]]
"""Gives a caption or an error for each picture, in order."""


@dataclass(frozen=True)
class Rules:
    """What a caption has to be to become a text."""

    max_length: int = 125
    """In characters; longer ones are cut at a word."""
    min_confidence: float = 0.0
    """The least confidence."""


@dataclass(frozen=True)
class Proposal:
    """A text for an image."""

    candidate: Candidate
    """The image."""
    alt: str
    """The text, as it is to be heard."""
    confidence: float | None
    """How sure the captioner is that it is acceptable; None when it cannot tell."""


@dataclass(frozen=True)
class Proposed:
    """A page with texts for its images."""

    page: Page
    """The page."""
    proposals: tuple[Proposal, ...]
    """The texts, in order."""
    data: bytes
    """Its file with them."""

    def write(self) -> None:
        """Put the texts into the file. Raises DataError, and leaves it as it is, when that cannot be done."""
        replace_file(self.page.path, self.page.document.data, self.data)

    def diff(self) -> bytes:
        """As `patch -p1` and `git apply` take it, in the encoding of the page."""
        return unified_diff(self.page.patched, self.page.document.data, self.data)

    def shown(self) -> str:
        """The same to be read, whatever the encoding of the page is."""
        texts = (self.page.document.text, Document.of(self.data, self.page.document.markup).text)
        before, after = (text.encode("utf-8", "backslashreplace") for text in texts)
        return unified_diff(self.page.patched, before, after).decode("utf-8", "backslashreplace")


def propose(pages: Sequence[Page], captions: Captioning, rules: Rules, account: Account) -> Iterator[Proposed]:
    """The pages that there are texts for, in order, each as soon as its pictures are captioned.

    Args:
        pages: with images that have no text.
        captions: the captioner.
        rules: what a caption has to be.
        account: counts what is proposed and what is not.
    """
    pictures = list(dict.fromkeys(candidate.picture for page in pages for candidate in page.candidates))
    results = zip(pictures, captions(pictures), strict=True)
    known: dict[Picture, Caption | CaptionerError] = {}
    for page in pages:
        while any(candidate.picture not in known for candidate in page.candidates):
            picture, result = next(results)
            known[picture] = result
        proposals = []
        for candidate in page.candidates:
            proposal = _proposal(page, candidate, known[candidate.picture], rules, account)
            if proposal is not None:
                proposals.append(proposal)
        if not proposals:
            continue
        try:
            data = _with_texts(page, proposals)
        except DataError as error:
            account.fail(f"{page.path}: {error.message}")
            continue
        yield Proposed(page, tuple(proposals), data)


def _proposal(
    page: Page, candidate: Candidate, result: Caption | CaptionerError, rules: Rules, account: Account
) -> Proposal | None:
    """The text for an image; None when there is none, and why is counted."""
    if isinstance(result, CaptionerError):
        named = result.message if isinstance(result, ImageError) else f"{candidate.image.source}: {result.message}"
        account.fail(f"{page.path}:{candidate.line}:{candidate.column}: {named}")
        return None
    text = one_line(result.text)
    if not text:
        account.skipped[SILENT] += 1
        return None
    if result.confidence is not None and result.confidence < rules.min_confidence:
        account.skipped[UNSURE] += 1
        return None
    return Proposal(candidate, shortened(text, rules.max_length), result.confidence)


def _with_texts(page: Page, proposals: Sequence[Proposal]) -> bytes:
    """The file of a page with texts; read again, it has them and is otherwise the same, or DataError is raised."""
    old = page.document
    images = [each.candidate.image for each in proposals]
    texts = [as_insertion(each.alt, image.syntax) for each, image in zip(proposals, images, strict=True)]
    data = old.with_insertions([Insertion(image.insertion, text) for image, text in zip(images, texts, strict=True)])
    given = {image.start for image in images}
    expected = [
        (Text.WRITTEN if image.start in given else image.text, image.syntax, image.source) for image in old.scan.images
    ]
    found = [(image.text, image.syntax, image.source) for image in Document.of(data, old.markup).scan.images]
    if found != expected:
        raise DataError("texts cannot be inserted without changing how it is read; write them by hand")
    return data
