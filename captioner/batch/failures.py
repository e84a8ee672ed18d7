"""What could not be captioned, and why: a log beside the output, which later runs read so as not to try in vain.

One object of JSON a picture: `path`, `version` (of the file, so that another one of the same name is tried anew) and
`error` with `code` and `message`, and `confidence` where a caption was not sure enough. `place` is there where a
caption could not be put where it belongs: what keeps one output from taking it says nothing of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from captioner.batch.appending import RecordLog, read_records, unfinished
from captioner.batch.keys import Keys
from captioner.batch.work import TEMPORARY, Item, Outcome, UnsureError, key_of, record

RETRIES = ("changed", "temporary", "all")
"""Which failures of earlier runs are tried again: those whose file has changed since, those too that need not be the
picture's own fault, or all."""


class Failures:
    """The log of one output."""

    def __init__(self, path: Path, place: str, by: str, *, retry: str = "changed", min_confidence: float = 0.0) -> None:
        """Open the log at `path`; what is to be tried again is taken out of it.

        Args:
            path: the log.
            place: of the output.
            by: what tells the captioner and its options from others: another one may be sure of what was withheld.
            retry: which failures that are, one of `RETRIES`.
            min_confidence: captions that were withheld and are as sure are wanted now.
        """
        self.path, self._place, self._by = path, place, by
        # Pictures; pictures as they are, with their versions; those of the latter whose captions were withheld.
        self._keys, self._versions, self._unsure = Keys(), Keys(), Keys()
        self._forgotten: set[str] = set()
        self._again: dict[str, str] = {}
        self._rewrite(lambda fields: not (self._concerns(fields) and self._is_wanted(fields, retry, min_confidence)))
        for fields in filter(self._concerns, read_records(path)):
            self._add(key_of(fields), fields["version"], is_unsure=fields["error"].get("code") == UnsureError.CODE)
        self._log = RecordLog(path)

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_: Any) -> None:
        self._log.close()
        if self._forgotten or self._again:
            self._rewrite(self._still_holds)
        if not self.path.stat().st_size:
            self.path.unlink()

    def has(self, item: Item) -> bool:
        """Whether the picture failed before, and is what it was."""
        return item.key in self._keys and _with_version(item.key, item.source.version) in self._versions

    def is_unsure(self, item: Item) -> bool:
        """Whether what it has is no failure: there was a caption, which was withheld."""
        return _with_version(item.key, item.source.version) in self._unsure

    def forget(self, item: Item) -> None:
        """The picture has a caption now, whatever happened before."""
        if item.key in self._keys:
            self._forgotten.add(item.key)

    def _still_holds(self, fields: dict[str, Any]) -> bool:
        """Whether a record is the last one of its picture, and that has no caption."""
        key, version = key_of(fields), fields["version"]
        return not self._concerns(fields) or (key not in self._forgotten and self._again.get(key, version) == version)

    def _concerns(self, fields: dict[str, Any]) -> bool:
        return bool(fields.get("place", self._place) == self._place)

    def write(self, outcomes: Sequence[Outcome], *, of_output: bool = False) -> None:
        """Take outcomes, each of which is an error: of the picture, or of what the output would have made of it.

        Raises OSError when they cannot be written.
        """
        versions = [outcome.item.source.version for outcome in outcomes]
        found = []
        for each, version in zip(outcomes, versions, strict=True):
            more = {"place": self._place} if of_output else {}
            if isinstance(each.result, UnsureError):
                more = {"by": self._by}
            found.append({**record(each), "version": version, **more})
        self._log.append(found)
        for outcome, version in zip(outcomes, versions, strict=True):
            if outcome.item.key in self._keys:
                self._again[outcome.item.key] = version
            self._add(outcome.item.key, version, is_unsure=isinstance(outcome.result, UnsureError))

    def _rewrite(self, stays: Callable[[dict[str, Any]], bool]) -> None:
        """Keep the records that stay, in one step."""
        temporary = unfinished(self.path)
        log = RecordLog(temporary, fresh=True)
        for fields in map(_checked, read_records(self.path)):
            if fields is not None and stays(fields):
                log.append([fields])
        log.close()
        temporary.replace(self.path)

    def _is_wanted(self, fields: dict[str, Any], retry: str, min_confidence: float) -> bool:
        """Whether it is to be tried again."""
        code = fields["error"].get("code")
        if code == UnsureError.CODE and fields.get("by") == self._by:
            confidence = fields["error"].get("confidence")
            return retry == "all" or not isinstance(confidence, int | float) or confidence >= min_confidence
        return retry == "all" or code == UnsureError.CODE or (retry == "temporary" and code in TEMPORARY)

    def _add(self, key: str, version: str, *, is_unsure: bool) -> None:
        self._keys.add(key)
        self._versions.add(_with_version(key, version))
        if is_unsure:
            self._unsure.add(_with_version(key, version))


def _with_version(key: str, version: str) -> str:
    return f"{key}\0{version}"


def _checked(fields: dict[str, Any]) -> dict[str, Any] | None:
    """A record of the log, or None for one that is none."""
    error = fields.get("error")
    try:
        key_of(fields)
    except (KeyError, ValueError):
        return None
    return fields if isinstance(fields.get("version"), str) and isinstance(error, dict) else None
