"""Captions inside the pictures, as photo programs show and search them; the pixels stay as they are.

XMP `dc:description` and `Iptc4xmpCore:AltTextAccessibility`, and the caption of IPTC where the container has a place
for it. What cannot hold them has a file beside it: `scan.bmp` and `scan.bmp.xmp`.
"""

from __future__ import annotations

from pathlib import Path

from captioner.batch.changes import Journal
from captioner.batch.sinks.own_files import OwnFiles
from captioner.batch.work import Item, Outcome
from captioner.errors import CaptionerError, ConfigError, MetadataError
from captioner.metadata.splice import Splice
from captioner.metadata.write import Which, caption_in, sidecar, splices
from captioner.metadata.xmp import captions_of

FIELDS = ("description", "alt", "iptc")


class MetadataSink(OwnFiles):
    """See `Sink`."""

    def __init__(self, home: Path, existing: str, fields: tuple[str, ...] = FIELDS) -> None:
        """Write into the pictures of the source whose folder is `home`.

        Args:
            home: the folder.
            existing: what to do where there is a description, one of `own_files.EXISTING`.
            fields: which fields are written, of `FIELDS`.
        """
        super().__init__(home, existing)
        unknown = next((field for field in fields if field not in FIELDS), None)
        if unknown is not None or not fields:
            raise ConfigError(f"--fields {unknown or 'is empty'}; choose among {', '.join(FIELDS)}")
        self.place, self.fields = "the pictures", fields
        self._which = Which(**{field: field in fields for field in FIELDS})

    def is_captioned(self, item: Item) -> bool:
        """Whether there is a description, in the picture or in the file beside it."""
        picture = _file(item)
        try:
            return bool(caption_in(picture.read_bytes()) or _described_beside(picture))
        except MetadataError:
            return _described_beside(picture)

    def write_one(self, outcome: Outcome, journal: Journal, **notes: str) -> None:
        """See `OwnFiles.write_one`."""
        picture = _file(outcome.item)
        data = picture.read_bytes()
        merge = "overwrite" if self.existing == "skip" else self.existing
        try:
            changes = splices(data, outcome.caption, self._which, merge)
        except MetadataError as error:
            if error.code != "metadata_unsupported":
                raise MetadataError(f"{outcome.item.source.name}: {error.message}", code=error.code) from None
        else:
            if changes:
                journal.change(picture, data, changes, **notes)
            return
        target = _beside(picture)
        old = target.read_bytes() if target.exists() else None
        new = sidecar(old, outcome.caption, self._which, merge)
        if new != old:
            journal.change(target, old, [Splice(0, len(old or b""), new)], **notes)


def _file(item: Item) -> Path:
    if not item.path:
        raise CaptionerError(
            f"{item.source.name} is no file that could be written into; write captions into one file, with --out",
            code="output",
        )
    return Path(item.path)


def _beside(picture: Path) -> Path:
    return picture.with_name(f"{picture.name}.xmp")


def _described_beside(picture: Path) -> bool:
    try:
        return bool(captions_of(_beside(picture).read_bytes()).description)
    except (FileNotFoundError, MetadataError):
        return False
