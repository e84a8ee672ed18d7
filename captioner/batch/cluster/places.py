"""Files and folders on local disks and in object stores, by one name: a path, or a URL that fsspec knows.

What is written appears when it is whole: on a local disk under another name first, in an object store by one upload.
Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from captioner.errors import CaptionerError, ConfigError, MissingDependencyError

_VERSIONS = ("ETag", "etag", "md5Hash", "checksum", "LastModified", "last_modified", "updated", "mtime", "created")
"""What stores call what changes with the content of a file; the first of them that is there is taken."""


class Place:
    """A file or a folder, there or not.

    Args:
        url: a path, or a URL such as `s3://bucket/folder`.

    Raises:
        ConfigError: nobody knows such a URL.
        MissingDependencyError: fsspec, or what it needs for this kind of store, is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            find = importlib.import_module("fsspec.core").url_to_fs
        except ImportError:
            raise MissingDependencyError("object stores need fsspec: pip install 'captioner[scale]'") from None
        try:
            self._store, self._path = find(url)
        except ImportError as error:
            raise MissingDependencyError(f"{url}: {error}; pip install what it names, on every machine") from None
        except ValueError as error:
            raise ConfigError(f"{url}: {error}; expected a path, or a URL such as s3://bucket/folder") from None
        self.url = url.rstrip("/") or url
        """As it was named."""
        self.local = Path(self._path) if "file" in _protocols(self._store) else None
        """Where it is on a local disk; None in an object store."""

    def below(self, name: str) -> Place:
        """What is called `name` in this folder."""
        place = object.__new__(Place)
        place._store, place._path = self._store, f"{self._path.rstrip('/')}/{name}"
        place.url = f"{self.url}/{name}"
        place.local = None if self.local is None else self.local / name
        return place

    @property
    def name(self) -> str:
        """The last part."""
        return str(self._path).rstrip("/").rpartition("/")[2]

    def facts(self) -> Mapping[str, Any] | None:
        """What the store knows of it, with `type` and `size`; None when there is nothing. Raises OSError."""
        try:
            facts: Mapping[str, Any] = self._store.info(self._path)
        except FileNotFoundError:
            return None
        return facts

    def files(self) -> dict[str, Mapping[str, Any]]:
        """All files below this folder, by their names from here; none when there is no such folder. Raises OSError."""
        self._store.invalidate_cache()
        try:
            found = self._store.find(self._path, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._path.rstrip("/")) + 1
        return {path[start:]: facts for path, facts in found.items() if facts.get("type") != "directory"}

    def open(self) -> IO[bytes]:
        """The file, to be read as a stream. Raises OSError."""
        if self.local is not None:
            return self.local.open("rb")
        opened: IO[bytes] = self._store.open(self._path, "rb")
        return opened

    def read(self, limit: int = -1) -> bytes:
        """The content, or so many bytes of its beginning. Raises OSError."""
        with self.open() as file:
            return file.read(limit)

    def write(self, fill: Callable[[IO[bytes]], object]) -> tuple[int, str]:
        """Put what `fill` writes there when it is whole and on the disk; returns its size and its SHA-256.

        Raises OSError when it cannot be written; then what was there stays.
        """
        folder = None
        if self.local is not None:
            folder = self.local.parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f"{TEMPORARY}{self.name}.{secrets.token_hex(4)}"
        else:
            temporary = Path(tempfile.gettempdir(), f"captioner-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            with temporary.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = temporary.stat().st_size
            if self.local is not None:
                temporary.replace(self.local)
            else:
                self._store.put_file(str(temporary), self._path)
        finally:
            temporary.unlink(missing_ok=True)
        return size, digest

    def remove(self) -> None:
        """Remove the file, or the folder with all that is in it, if it is there. Raises OSError."""
        if self.local is not None and self.local.is_dir():
            shutil.rmtree(self.local)
            return
        with suppress(FileNotFoundError):
            self._store.rm(self._path, recursive=True)


TEMPORARY = ".unfinished-"
"""What names begin with of files that are being written on a local disk."""


def version_of(facts: Mapping[str, Any]) -> str:
    """Size, and the tag or the time that tells this content of a file from another."""
    tag = next((facts[name] for name in _VERSIONS if facts.get(name)), "")
    return f"{facts.get('size') or 0} {tag}".strip()


def reason_of(error: Exception) -> str:
    """What a store raised, as one line; stores have exceptions of their own."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__


def in_words(error: Exception, place: str) -> CaptionerError:
    """The same as an error that ends a job."""
    message = f"{place}: {reason_of(error)}; what is done stays done, and the same command goes on"
    return CaptionerError(message, code="output")


def _protocols(store: Any) -> tuple[str, ...]:
    found = store.protocol
    return (found,) if isinstance(found, str) else tuple(found)
