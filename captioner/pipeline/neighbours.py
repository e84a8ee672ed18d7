"""What a bundle keeps of training pictures, to show those that are like a new one: see `runtime/neighbours.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from captioner.bundle import NEIGHBOURS, NEIGHBOURS_CAPTIONS
from captioner.pipeline.exported import Exported, batches
from captioner.pipeline.workspace import Workspace, read_lines, write_text
from captioner.runtime.neighbours import directions


def write_neighbours(workspace: Workspace, most: int, *, threads: int) -> Mapping[str, Path]:
    """Write vectors and captions of training pictures beside the graphs; gives the files by their names in a bundle.

    Args:
        workspace: of a build whose graphs are exported.
        most: pictures, at most, spread evenly over all; with 0 nothing is written.
        threads: for an encoder that was trained, whose features are not stored.

    Raises:
        OSError, CaptionerError: the disk does not take them.
    """
    if not most:
        return {}
    pictures = list(read_lines(workspace.pictures("train")))
    places = np.linspace(0, len(pictures) - 1, min(most, len(pictures)), dtype=int)
    pictures = [pictures[place] for place in places]
    model = Exported.open(workspace, threads)
    bar = tqdm(list(batches(pictures)), desc="  neighbours", leave=False, disable=not sys.stderr.isatty())
    vectors = np.concatenate([directions(model.see(rows)).astype(np.float16) for rows in bar])
    files = {name: workspace.graphs / name for name in (NEIGHBOURS, NEIGHBOURS_CAPTIONS)}
    np.save(files[NEIGHBOURS], vectors)
    write_text(files[NEIGHBOURS_CAPTIONS], (json.dumps(each["captions"], ensure_ascii=False) for each in pictures))
    return files
