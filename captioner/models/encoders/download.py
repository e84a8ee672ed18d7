"""Fetches one file over HTTP into a place where it stays. Knows nothing of what is in the file, and needs no torch.

The file grows under the name `….part` and gets its own name only when it is complete and its checksum is right. What an
interrupted download has brought is kept, and the next one goes on from there (HTTP Range, RFC 9110 section 14).
"""

from __future__ import annotations

import hashlib
import re
import sys
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from captioner.errors import WeightsError

TIMEOUT_SECONDS = 30.0
"""How long the server may stay silent."""
MAX_ATTEMPTS = 5
"""How often a connection that breaks is taken up again before the download fails."""
_CHUNK_BYTES = 1 << 18
_RANGE_NOT_SATISFIABLE = 416


def fetch(url: str, destination: Path, *, checksum: str, size: int | None = None, progress: bool = True) -> Path:
    """Make sure that `destination` is the file whose MD5 is `checksum`, downloading it from `url` when it is not.

    A file that is already there and right is used without any network. Of several processes that ask for the same file
    one downloads and the others wait.

    Args:
        url: an http or https address.
        destination: the file; its folder is created when needed.
        checksum: MD5 as 32 hexadecimal digits; it finds damage, it is no signature.
        size: bytes to expect, for the progress bar alone, when the server does not say.
        progress: draw a progress bar on stderr when that is a terminal.

    Returns `destination`. Raises `WeightsError` when the file cannot be had: no network, wrong content, no
    place to write.
    """
    if not url.startswith(("http://", "https://")):
        raise WeightsError(f"cannot fetch {destination.name} from {url}: expected an http or https address")
    try:
        if _is_right(destination, checksum):
            return destination
        destination.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{destination}.lock"):
            if not _is_right(destination, checksum):  # else another process has fetched it meanwhile
                _announce(url, destination, size)
                part = destination.with_name(destination.name + ".part")
                _download(url, part, destination, checksum, size, progress)
                part.replace(destination)
    except OSError as error:
        raise WeightsError(
            f"cannot write {destination}: {error.strerror or error}; "
            "make it writable, or set CAPTIONER_CACHE to another folder"
        ) from error
    return destination


def _announce(url: str, destination: Path, size: int | None) -> None:
    reason = "; the file that is there is damaged" if destination.exists() else ""
    amount = f" ({size / 1e6:.0f} MB)" if size else ""
    sys.stderr.write(f"fetching {destination.name}{amount} from {url} into {destination.parent}{reason}\n")


def _download(url: str, part: Path, destination: Path, checksum: str, size: int | None, progress: bool) -> None:
    """Fill `part` with the right content, or raise `WeightsError`."""
    resumed = part.exists()
    _complete(url, part, destination, size, progress)
    if resumed and not _is_right(part, checksum):
        part.unlink()  # the file on the server is no longer the one that was begun
        _complete(url, part, destination, size, progress)
    if not _is_right(part, checksum):
        part.unlink()
        raise WeightsError(
            f"{url} gave another file than expected (its MD5 is not {checksum}) and it was removed; "
            f"try again, or put the right file at {destination}"
        )


def _complete(url: str, part: Path, destination: Path, size: int | None, progress: bool) -> None:
    """Receive the rest of the file, taking up a broken connection as long as each attempt brings something."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        held = _size(part)
        try:
            _receive(url, part, size, progress)
            return
        except _TransferError as interruption:
            if attempt == MAX_ATTEMPTS or _size(part) == held:
                raise WeightsError(
                    f"cannot fetch {destination.name} from {url}: {interruption}; try again with a network "
                    f"(what has arrived is kept), or put the file at {destination}"
                ) from interruption


class _TransferError(Exception):
    """The server cannot be reached, refuses, or went away in the middle; the message says which."""


def _receive(url: str, part: Path, size: int | None, progress: bool) -> None:
    """One request: append to `part` what it lacks, or write it anew when the server does not resume."""
    held = _size(part)
    headers = {"User-Agent": "captioner", "Accept-Encoding": "identity"}
    if held:
        headers["Range"] = f"bytes={held}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)  # noqa: S310 - http(s), see `fetch`
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE and held:
            return  # nothing follows what is held: it is complete, or of another file; the checksum will tell
        raise _TransferError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _TransferError(_reason(error)) from error
    with response:
        start = _start(response.headers.get("Content-Range", "")) if response.status == 206 else 0
        if start not in (0, held):
            part.unlink()
            raise _TransferError("the server answered with another part than asked for")
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else size
        bar: tqdm[Any] = tqdm(
            desc=part.stem,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,  # None: quiet unless stderr is a terminal
        )
        with bar, part.open("ab" if start else "wb") as file:
            received = _copy(response, file, bar)
        if length.isdecimal() and received < int(length):
            raise _TransferError(f"the connection ended after {start + received} of {total} bytes")


def _copy(response: IO[bytes], file: IO[bytes], bar: tqdm[Any]) -> int:
    """Copy until the response ends; returns how many bytes that were."""
    received = 0
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise _TransferError(_reason(error)) from error
        if not chunk:
            return received
        file.write(chunk)
        received += len(chunk)
        bar.update(len(chunk))


def _start(content_range: str) -> int:
    """Where `bytes 100-199/200` starts; -1 when it cannot be told."""
    found = re.match(r"bytes (\d+)-", content_range)
    return int(found[1]) if found else -1


def _reason(error: Exception) -> str:
    """The cause in words; urllib wraps the errors of the socket in its own."""
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_right(file: Path, checksum: str) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == checksum.lower()
