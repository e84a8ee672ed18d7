"""A worker: one process with one captioner on one thread, which answers frames on stdin with frames on stdout.

Started by `workers.py` and by nobody else. It ends when its stdin does, whatever it is doing, so that none outlives the
service, however that ended.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from captioner.errors import CaptionerError, ImageError
from captioner.images import BytesSource, Picture
from captioner.runtime.records import caption_fields
from captioner.serve import frames
from captioner.serve.log import place_of

if TYPE_CHECKING:
    from captioner.runtime.captioner import Captioner
    from captioner.types import Caption

Frame = tuple[dict[str, Any], list[bytes]]


def main() -> None:
    """Load the captioner of the first frame, say so, and answer all that follow."""
    for name in (signal.SIGINT, signal.SIGTERM):  # meant for the service, which has work to finish
        signal.signal(name, signal.SIG_IGN)
    answers, incoming = _own_stdout(), sys.stdin.buffer
    first = frames.read(incoming)
    if first is None:
        return
    waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, waiting), daemon=True).start()
    try:
        model = _load(first[0])
    except CaptionerError as error:
        _say(answers, {"failed": error.message, "code": error.code})
        os._exit(1)  # Python itself could not end: the thread that listens holds stdin
    _say(answers, {"ready": True, "attention": _can_attend(model)})
    while True:
        head, parts = waiting.get()
        _say(answers, {"id": head["id"], **_answer(model, head, parts)})


def _own_stdout() -> IO[bytes]:
    """Stdout for frames alone: whatever else prints, a library too, prints to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _listen(incoming: IO[bytes], waiting: queue.SimpleQueue[Frame]) -> None:
    """Take frames as they come; at the end of them end the process, even while a graph is at work."""
    try:
        while frame := frames.read(incoming):
            waiting.put(frame)
    finally:
        os._exit(0)


def _say(answers: IO[bytes], head: dict[str, Any]) -> None:
    try:
        for piece in frames.pack(head):
            answers.write(piece)
        answers.flush()
    except BrokenPipeError:  # nobody is there any more
        os._exit(0)


def _load(head: dict[str, Any]) -> Captioner:
    from captioner.runtime.captioner import load

    model = load([Path(each) for each in head["folders"]], threads=1)
    _warm(model)
    return model


def _warm(model: Captioner) -> None:
    """The first caption of a process takes longer than all others; nobody shall wait for it."""
    import numpy as np

    model.caption(np.zeros((64, 64, 3), np.uint8), beam=1, max_length=3)


def _can_attend(model: Captioner) -> bool:
    from captioner.runtime.onnx_step import ATTENDED

    return len(model.graphs) == 1 and ATTENDED in model.graphs[0].steps.changing


def _answer(model: Captioner, head: dict[str, Any], parts: Sequence[bytes]) -> dict[str, Any]:
    try:
        pictures = [BytesSource("the picture", part) for part in parts]
        if head["job"] == "check":
            model.look(pictures[0])
            return {"answer": {}}
        if head["job"] == "explain":
            return {"answer": _explained(model, pictures[0], head["text"])}
        if head["job"] == "neighbours":
            return {"answer": _neighbours(model, pictures[0], head["count"])}
        return {"captions": _captioned(model, pictures, head["options"], head["min_confidence"])}
    except CaptionerError as error:
        return {"failed": error.message, "code": error.code, "is_of_picture": isinstance(error, ImageError)}
    except Exception as error:  # of whatever kind: this batch fails, the worker lives
        sys.stderr.write(f"captioner serve: a worker failed: {type(error).__name__} {place_of(error)}\n")
        return {"failed": "the captioner failed", "code": "internal"}


def _captioned(
    model: Captioner, pictures: Sequence[Picture], options: dict[str, Any], least: float
) -> list[dict[str, Any]]:
    if least > 0 and model.confidence is None:
        raise CaptionerError("min_confidence: this captioner was not calibrated; leave it out", code="config")
    results = model.iter_results(pictures, batch=max(1, len(pictures)), **options)
    return [_entry(result, least) for result in results]


def _entry(result: Caption | CaptionerError, least: float) -> dict[str, Any]:
    """A picture's entry in the answer; names are those of the command line's `--json`."""
    empty: dict[str, Any] = {"caption": None, "log_prob": None, "confidence": None, "candidates": [], "words": []}
    if isinstance(result, CaptionerError):
        return {**empty, "error": {"code": result.code, "detail": result.message}}
    unsure = result.confidence is not None and result.confidence < least
    if unsure:
        reason = f"confidence {result.confidence:.3f} is below {least:g}"
        return {**empty, **caption_fields(result, reason), "error": None}
    fields = caption_fields(result)
    for each in fields["candidates"]:
        each["probability"] = _probability(each["log_prob"])
    words = [
        {"word": word.text, "log_prob": round(word.log_prob, 6), "probability": _probability(word.log_prob)}
        for word in result.words
    ]
    return {**fields, "words": words, "error": None}


def _neighbours(model: Captioner, picture: Picture, count: int) -> dict[str, Any]:
    found = model.neighbours(picture, count)
    return {"neighbours": [{"similarity": round(each.similarity, 6), "captions": each.captions} for each in found]}


def _probability(log_prob: float) -> float:
    return float(f"{exp(min(log_prob, 0.0)):.6g}")


def _explained(model: Captioner, picture: Picture, text: str | None) -> dict[str, Any]:
    from captioner.runtime.occlusion import occlusion_maps

    if text is None:
        text = model.caption(picture).text
    vocabulary = model.bundle.vocabulary
    if _can_attend(model):
        method, maps = "attention", model.attention(picture, text)
    else:
        method, maps = "occlusion", occlusion_maps(model, picture, text)
    return {
        "method": method,
        "caption": text,
        "words": [
            vocabulary.decode([token]) or said
            for token, said in zip(vocabulary.encode(text), vocabulary.split(text), strict=True)
        ],
        "rows": int(maps.shape[1]),
        "columns": int(maps.shape[2]),
        "maps": [[round(float(share), 6) for share in where.ravel()] for where in maps],
    }


if __name__ == "__main__":
    main()
