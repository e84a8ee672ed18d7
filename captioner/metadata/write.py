"""A caption into the metadata of a picture file, or into a sidecar file beside it.

What comes out are splices: ranges of bytes that change. Files are told apart by content. Knows nothing of how files are
read, written or named.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.errors import ConfigError
from captioner.metadata import gif, iptc, jpeg, png, tiff, webp, xmp
from captioner.metadata.container import Container, Held, unsupported
from captioner.metadata.splice import Splice

_CONTAINERS: tuple[Container, ...] = (jpeg, png, webp, gif, tiff)


@dataclass(frozen=True)
class Which:
    """Where captions go; one place at least."""

    description: bool = True
    """dc:description in XMP, which photo managers show as the description."""
    alt: bool = False
    """Iptc4xmpCore:AltTextAccessibility in XMP, which is for screen readers."""
    iptc: bool = False
    """Caption-Abstract in IPTC, for older software; only JPEG and TIFF hold it."""

    def __post_init__(self) -> None:
        if not (self.description or self.alt or self.iptc):
            raise ConfigError("a caption goes nowhere; choose description, alt or iptc")


def splices(data: bytes, caption: str, which: Which, merge: str) -> tuple[Splice, ...]:
    """The changes that put a caption into a picture file; none where it is there already.

    IPTC is passed over where it cannot hold the caption (see `iptc.with_caption`), or the container has no IPTC, if the
    caption goes into XMP as well.

    Args:
        data: the file.
        caption: the text.
        which: where it goes.
        merge: what becomes of captions that are there, as for `merging.merged`.

    Raises:
        MetadataError: `metadata` when the file or its metadata is broken, `metadata_unsupported` when it cannot hold
            the caption.
        ConfigError: as `merging.merged`.
    """
    container = _container(data)
    if container is None:
        raise unsupported("only JPEG, PNG, WebP, GIF and TIFF hold captions")
    held = container.read(data)
    fields, packet, block = _fields(caption, which), held.xmp, held.iptc
    if fields is not None:
        packet = xmp.with_caption(held.xmp, fields, merge)
    if which.iptc:
        block = iptc.with_caption(held.iptc, caption, merge) if container.HOLDS_IPTC else None
        if block is None and fields is None:
            raise unsupported(f"the {container.NAME} cannot hold this caption as IPTC")
    return container.replace(data, Held(None if packet == held.xmp else packet, None if block == held.iptc else block))


def sidecar(packet: bytes | None, caption: str, which: Which, merge: str) -> bytes:
    """The content of an XMP file beside a picture, for pictures that cannot hold a caption or must not change.

    Args:
        packet: what is in the file now; None when there is none.
        caption: the text.
        which: what to write; a sidecar file has no IPTC.
        merge: what becomes of captions that are there, as for `merging.merged`.

    Raises:
        MetadataError: `metadata` when the packet is broken, `metadata_unsupported` when only IPTC is wanted.
        ConfigError: as `merging.merged`.
    """
    fields = _fields(caption, which)
    if fields is None:
        raise unsupported("a sidecar file holds no IPTC, only description and alt")
    return xmp.with_caption(packet, fields, merge)


def caption_in(data: bytes, which: Which) -> str:
    """The caption that a picture file has in one of the places; empty where there is none, or can be none.

    Description and IPTC are one place: programs for photographs show the one where there is not the other (Metadata
    Working Group, Guidelines for Handling Image Metadata, version 2.0, on the property Description).

    Raises `MetadataError` when the file or its metadata is broken.
    """
    container = _container(data)
    if container is None:
        return ""
    held = container.read(data)
    found = caption_in_sidecar(held.xmp, which) if held.xmp is not None else ""
    if not found and held.iptc is not None and (which.description or which.iptc):
        found = iptc.caption_of(held.iptc)
    return found


def caption_in_sidecar(packet: bytes, which: Which) -> str:
    """The same of an XMP file beside a picture. Raises `MetadataError` when it is broken."""
    captions = xmp.captions_of(packet)
    description = captions.description if which.description or which.iptc else None
    return description or (captions.alt if which.alt else None) or ""


def _container(data: bytes) -> Container | None:
    return next((container for container in _CONTAINERS if container.begins(data)), None)


def _fields(caption: str, which: Which) -> xmp.Fields | None:
    if not (which.description or which.alt):
        return None
    return xmp.Fields(caption if which.description else None, caption if which.alt else None)
