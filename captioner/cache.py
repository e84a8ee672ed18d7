"""Where downloaded files are kept on this machine. Knows nothing of what is kept there, and creates nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from captioner.errors import ConfigError


def cache_folder() -> Path:
    """The folder for downloads, which may not exist yet.

    The environment variable CAPTIONER_CACHE, if it is set. Otherwise `captioner` in the place that the platform has for
    such files: XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, LOCALAPPDATA on Windows.

    Raises `ConfigError` when there is no home folder to look in.
    """
    try:
        chosen = os.environ.get("CAPTIONER_CACHE")
        return Path(chosen).expanduser() if chosen else _platform_cache() / "captioner"
    except RuntimeError as error:  # pathlib found no home folder
        raise ConfigError("this user has no home folder; set CAPTIONER_CACHE to a folder for downloads") from error


def _platform_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return xdg if xdg.is_absolute() else Path.home() / ".cache"  # the XDG specification ignores relative paths
