"""What a service tells of its captioner: `GET /v1/model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from captioner.bundle import Bundle
from captioner.serve.limits import Limits

_DECODE = ("beam", "n_best", "max_length", "min_length", "length_penalty", "no_repeat_ngram")


def name_and_id(bundles: Sequence[Bundle]) -> dict[str, str]:
    """The name of a captioner, and an id that is another one for every other captioner.

    The name is `pretrained`, or that of the build's folder; never a path. The id is made from the manifest, which has
    the hashes of all files.
    """
    names = []
    for bundle in bundles:
        folder = bundle.folder.resolve()
        names.append(folder.parent.name if folder.name == "bundle" else folder.name)
    seals = "-".join(bundle.fingerprint[:16] for bundle in bundles)
    return {"name": "+".join(names), "id": seals}


def description(
    bundles: Sequence[Bundle], options: Mapping[str, Any], limits: Limits, *, attention: bool
) -> dict[str, Any]:
    """All that is told, as JSON."""
    manifest = bundles[0].manifest
    decode = {**asdict(manifest.decode), **options}
    encoder = manifest.encoder
    return {
        **name_and_id(bundles),
        "decoder": manifest.decoder.get("decoder", "unknown"),
        "encoder": encoder.get("name", "unknown"),
        "picture_size": manifest.preprocess.size,
        "framing": manifest.preprocess.framing,
        "words": len(bundles[0].vocabulary),
        "trained_on": manifest.training.get("data", "unknown"),
        "created": manifest.created,
        "options": {name: decode[name] for name in _DECODE},
        "confidence": manifest.confidence is not None and len(bundles) == 1,
        "attention": attention,
        "neighbours": bundles[0].keeps_neighbours,
        "scores": [
            {name: row[name] for name in ("name", "value", "split", "search", "interval") if name in row}
            for row in (manifest.scores if len(bundles) == 1 else ())
            if row.get("split") == "dev"
        ],
        "licences": dict(manifest.licences),
        "limits": dict(limits.to_json()),
    }
