"""What happens around the epochs: keep the best weights and the last state, stop in time, log, show progress."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from tqdm import tqdm

from captioner.training.checkpoint import save_checkpoint
from captioner.training.module import DEV_LOSS, DEV_SCORE

LAST = "last.safetensors"
BEST = "best.safetensors"
LOG = "log.csv"


class KeepBest(Checkpoint):
    """After every epoch: the weights if they are the best so far, then the log, then the state to resume from.

    The state comes last and holds the log and the best score, so that a run killed in between repeats the epoch and
    writes the same files again. Lightning runs callbacks of this kind after all others.
    """

    def __init__(self, folder: Path, patience: int) -> None:
        self._folder = folder
        self._patience = patience
        self.history: list[dict[str, float]] = []
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The log so far; all else follows from it."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the log of an earlier run."""
        self.history = list(state_dict["history"])

    @property
    def best(self) -> dict[str, float] | None:
        """The row of the best epoch, the first of equals."""
        return max(self.history, key=lambda row: row[DEV_SCORE], default=None)

    @property
    def _exhausted(self) -> bool:
        return self.best is not None and self.history[-1]["epoch"] - self.best["epoch"] >= self._patience

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A run that was killed after its last epoch has nothing left to do."""
        trainer.should_stop = self._exhausted

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep what is worth keeping, and stop when dev has not improved for `patience` epochs."""
        self.history.append(
            {
                "epoch": trainer.current_epoch + 1,
                "steps": trainer.global_step,
                "train_loss": float(trainer.callback_metrics["train_loss"]),
                DEV_LOSS: float(trainer.callback_metrics[DEV_LOSS]),
                DEV_SCORE: float(trainer.callback_metrics[DEV_SCORE]),
                "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "seconds": round(time.monotonic() - self._started, 2),
            }
        )
        if trainer.is_global_zero:
            if self.best is self.history[-1]:
                save_checkpoint(self._folder / BEST, pl_module.model.state_dict())  # type: ignore[union-attr]
            self._write_log()
        trainer.save_checkpoint(self._folder / LAST)
        trainer.should_stop = self._exhausted

    def _write_log(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(self.history[-1]), restval="")  # earlier versions logged less
        writer.writeheader()
        writer.writerows(self.history)
        temporary = self._folder / f".{LOG}.{os.getpid()}"
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        temporary.replace(self._folder / LOG)


class EpochProgress(ProgressBar):
    """One bar an epoch on stderr, then one line with loss and dev score; the line alone when stderr is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Any = None
        self._started = time.monotonic()

    def disable(self) -> None:
        """Called by Lightning in all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Called by Lightning in the first process."""
        self._enabled = True

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A fresh bar."""
        self._started = time.monotonic()
        self._bar = tqdm(
            total=int(trainer.num_training_batches),
            desc=f"  epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            unit=" batches",
            leave=False,
            disable=not (self._enabled and sys.stderr.isatty()),
            file=sys.stderr,
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """One batch further."""
        self._bar.update()

    def on_validation_start(self, *_: Any) -> None:
        """Say what happens between the last batch and the epoch's line."""
        if self._bar is not None:
            self._bar.set_postfix_str("captioning dev")

    def on_exception(self, *_: Any) -> None:
        """Leave the line to the message that follows."""
        if self._bar is not None:
            self._bar.close()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The epoch in one line."""
        self._bar.close()
        if self._enabled:
            metrics = trainer.callback_metrics
            print(  # noqa: T201 - progress belongs on stderr
                f"  epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {float(metrics['train_loss']):.3f}, "
                f"dev loss {float(metrics[DEV_LOSS]):.3f}, dev CIDEr {float(metrics[DEV_SCORE]):.1f}, "
                f"{time.monotonic() - self._started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
