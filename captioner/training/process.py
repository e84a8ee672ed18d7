"""What a training process sets for itself, be it the only one or one of several: threads, silence, how it is ended."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning
import torch

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
_KNOWN = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*GPU available but not used.*",
    ".*in eval mode at the start of training.*",  # batch norm, meant
    ".*fp16 is not supported on CPU.*",
)


class OwnProcess(lightning.Callback):
    """Shares the processor threads among the processes of this machine, and keeps those that were started quiet."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __setstate__(self, state: dict[str, int]) -> None:
        """Arrive in a process that was started, where Lightning would introduce itself before it calls anything."""
        self.__dict__.update(state)
        _silence()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Called in every process before it computes anything."""
        torch.set_num_threads(max(1, self._threads // trainer.num_devices))

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called where there is a model to look at before training."""
        _end_when_told()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Called when all is set up."""
        _end_when_told()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's banners and its advice on workers, which a memory-mapped store does not need."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        _silence()
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _silence() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _KNOWN:
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated", category=FutureWarning)


def _end_when_told() -> None:
    """End at once on SIGTERM, which a process that was started gets when another one has failed.

    Lightning's own handler would first tell the others, and fail aloud when they are gone.
    """
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
