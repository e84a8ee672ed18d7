"""Stages that run one after another and skip what is up to date. Knows nothing of what they do.

A stage is up to date when it has run before on the same inputs, after the same stages, and its outputs are there. One
that was interrupted may go on from what it left, as long as the inputs are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.pipeline.workspace import read_json, write_json
from captioner.version import __version__


@dataclass(frozen=True)
class Stage:
    """One step of a build."""

    name: str
    """In the imperative, as it is shown: `prepare`, `train` …"""
    inputs: Callable[[], Mapping[str, Any]]
    """What its result depends on besides the stages before it, JSON-able; asked for when they have run."""
    outputs: Sequence[Path]
    """What must be there for it to count as done."""
    run: Callable[[], str]
    """Does it; returns what was done in one line."""
    intact: Callable[[], bool] = lambda: True
    """Whether what the outputs point to is whole; asked when they are there."""
    unfinished: Sequence[Path] = ()
    """Folders with what it goes on from after an interruption; put aside while it runs on other inputs."""


def run_stages(stages: Sequence[Stage], marks: Path) -> None:
    """Run the stages in order; `marks` is the folder that remembers what is done."""
    before = __version__
    for number, stage in enumerate(stages, start=1):
        facts = json.dumps([before, stage.name, stage.inputs()], sort_keys=True, default=str)
        key = hashlib.sha256(facts.encode()).hexdigest()
        mark = marks / f"{stage.name}.json"
        done = read_json(mark) if mark.exists() else {}
        title = f"[{number}/{len(stages)}] {stage.name}"
        was_done = done.get("key") == key and "summary" in done
        if was_done and all(path.exists() for path in stage.outputs) and stage.intact():
            _say(f"{title}: up to date ({done['summary']})")
        else:
            _say(f"{title} …")
            started = time.monotonic()
            if done.get("key") != key:
                for folder in stage.unfinished:
                    _exchange(folder, done.get("key", ""), key)
            write_json(mark, {"key": key})  # begun: one that fails half-way is not done, whatever it was before
            summary = stage.run()
            write_json(mark, {"key": key, "summary": summary})
            _say(f"{title}: {summary}, {time.monotonic() - started:.1f} s")
        before = key


def _exchange(folder: Path, old_key: str, key: str) -> None:
    """Put aside what belongs to other inputs, and take up again what was put aside of these.

    Hours of work may lie in it, and one mistyped option is enough to begin anew.
    """
    if folder.exists():
        aside = _place_aside(folder, old_key)
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
        _say(
            f"  options or data have changed; what was there is now in {aside}: delete it, or go back to find it again"
        )
    if _place_aside(folder, key).exists():
        _place_aside(folder, key).replace(folder)


def _place_aside(folder: Path, key: str) -> Path:
    return folder.with_name(f"{folder.name}.{key[:8]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress belongs on stderr
