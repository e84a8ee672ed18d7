"""captioner: train an image captioner on your own pictures in minutes, caption any picture in milliseconds.

    import captioner
    model = captioner.load("runs/scenes/bundle")
    print(model.caption("photo.jpg").text)

The names below are all that is promised to stay; the rest may be imported, and may move.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from captioner.errors import CaptionerError
from captioner.types import Caption
from captioner.version import __version__

# ONNX Runtime 1.32 keeps a database of usage events in the home folder as soon as it is imported, for its maker, whose
# address is in it. Nothing here reports to anybody; this must be said before that import, wherever it is.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from captioner.runtime.captioner import Captioner, load

__all__ = ["Caption", "Captioner", "CaptionerError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the runtime when it is first asked for, so that `--version` and `--help` need no third-party library."""
    if name in ("Captioner", "load"):
        from captioner.runtime import captioner as runtime

        return getattr(runtime, name)
    raise AttributeError(f"module 'captioner' has no attribute {name!r}")
