"""Which captioner is taken when none is named, in words. Knows no verb."""

from __future__ import annotations

from pathlib import Path

from captioner.bundle import PRETRAINED, RUNS, Manifest
from captioner.errors import printable


def default_in_words(folder: Path, manifest: Manifest) -> str:
    """What people are told of the bundle in `folder`, that of `runtime.captioner.default_bundle`."""
    if folder == PRETRAINED:
        return f"using the captioner that ships with the package ({manifest.training['data']})"
    saved = manifest.created[:19].replace("T", " ")
    where = f"in {RUNS}/" if folder.is_relative_to(RUNS) else "built here"
    return printable(f"using {folder}, the newest captioner {where} (saved {saved} UTC)")
