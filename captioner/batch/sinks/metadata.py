"""Captions inside the pictures, as photo programs show and search them; the pixels stay as they are.

XMP `dc:description` and `Iptc4xmpCore:AltTextAccessibility`, and the caption of IPTC where the container has a place
for it. What cannot hold them has a file beside it: `scan.bmp` and `scan.bmp.xmp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from captioner.batch.changes import Journal
from captioner.batch.sinks.own_files import OwnFiles
from captioner.batch.work import Item, Outcome
from captioner.errors import CaptionerError, ConfigError, MetadataError
from captioner.metadata.splice import Splice
from captioner.metadata.write import Which, caption_in, caption_in_sidecar, sidecar, splices

FIELDS = ("description", "alt", "iptc")


class MetadataSink(OwnFiles):
    """See `Sink`."""

    def __init__(
        self, home: Path, existing: str, facts: Mapping[str, Any] | None = None, *, fields: tuple[str, ...] = FIELDS
    ) -> None:
        """Write into the pictures of the source whose folder is `home`.

        Args:
            home: the folder.
            existing: what to do where there is a caption, one of `own_files.EXISTING`.
            facts: what tells the job from others, see `UnderWay`.
            fields: which fields are written, of `FIELDS`.
        """
        unknown = next((field for field in fields if field not in FIELDS), None)
        if unknown is not None or not fields:
            raise ConfigError(f"--fields {unknown or 'is empty'}; choose among {', '.join(FIELDS)}")
        super().__init__(home, f"the pictures ({', '.join(fields)})", existing, facts)
        self._which = Which(**{field: field in fields for field in FIELDS})

    def is_captioned(self, item: Item) -> bool:
        """Whether one of the fields that would be written has a text, in the picture or in the file beside it."""
        picture = _file(item)
        with suppress(MetadataError):
            if caption_in(picture.read_bytes(), self._which):
                return True
        with suppress(FileNotFoundError, MetadataError):
            return bool(caption_in_sidecar(_beside(picture).read_bytes(), self._which))
        return False

    def write_one(self, outcome: Outcome, journal: Journal, **notes: str) -> None:
        """See `OwnFiles.write_one`."""
        picture = _file(outcome.item)
        data = picture.read_bytes()
        merge = "overwrite" if self.existing == "skip" else self.existing
        try:
            self._write(picture, data, outcome.caption, merge, journal, notes)
        except MetadataError as error:
            raise MetadataError(f"{outcome.item.source.name}: {error.message}", code=error.code) from None

    def _write(
        self, picture: Path, data: bytes, caption: str, merge: str, journal: Journal, notes: Mapping[str, str]
    ) -> None:
        """Into the picture, or, where its format holds no captions, into a file beside it."""
        try:
            changes = splices(data, caption, self._which, merge)
        except MetadataError as error:
            if error.code != "metadata_unsupported":
                raise
        else:
            if changes:
                journal.change(picture, data, changes, **notes)
            return
        target = _beside(picture)
        old = target.read_bytes() if target.exists() else None
        new = sidecar(old, caption, self._which, merge)
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
