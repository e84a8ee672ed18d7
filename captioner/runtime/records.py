"""Captions as objects of JSON, the same wherever they are written."""

from __future__ import annotations

from typing import Any

from captioner.types import Caption


def caption_fields(caption: Caption, reason: str = "") -> dict[str, Any]:
    """The fields of a caption: `caption`, `log_prob`, `confidence` and `candidates`.

    Args:
        caption: what a captioner said.
        reason: why it is withheld; then `caption` is null, and there are no candidates.
    """
    confidence = None if caption.confidence is None else round(caption.confidence, 4)
    if reason:
        return {"caption": None, "confidence": confidence, "reason": reason}
    candidates = [{"caption": each.text, "log_prob": round(each.log_prob, 6)} for each in caption.candidates]
    return {
        "caption": caption.text,
        "log_prob": round(caption.log_prob, 6),
        "confidence": confidence,
        "candidates": candidates,
    }
