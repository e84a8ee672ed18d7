"""Which job is under way that writes over what is there: after a kill the same one goes on, and another begins anew.

    OUTPUT.job.json     while such a job runs, and when it was stopped: its name, and what it was asked to do

Knows no kind of output.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class UnderWay:
    """The note of one output."""

    def __init__(self, papers: Path, facts: Mapping[str, Any]) -> None:
        """`papers` is what the names of the job's own files begin with; `facts` tell the job from others, in JSON."""
        self._path = papers.with_name(f"{papers.name}.job.json")
        self._facts = json.loads(json.dumps(facts))

    def stopped_job(self) -> str:
        """The name of a job that was asked the same and never came to its end; empty when there is none."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        is_same = isinstance(found, dict) and found == {**self._facts, "job": found.get("job")}
        return str(found["job"]) if is_same else ""

    def begin(self) -> str:
        """Note that the job begins; returns its name."""
        job = secrets.token_hex(8)
        self._path.write_text(json.dumps({**self._facts, "job": job}), encoding="utf-8")
        return job

    def end(self) -> None:
        """Note that nothing is under way any more."""
        self._path.unlink(missing_ok=True)
