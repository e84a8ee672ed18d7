"""What happens around the epochs: keep the best weights and the last state, stop in time, log, show progress."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, ProgressBar, WeightAveraging
from torch import Tensor
from tqdm import tqdm

from captioner.training.checkpoint import save_checkpoint
from captioner.training.module import DEV_HABITS, DEV_LOSS, DEV_SCORE, TRAIN_REWARD

LAST = "last.safetensors"
BEST = "best.safetensors"
LOG = "log.csv"

# Bad habits: these shares of the length, and of distinct-2, that captions had before training; and so much more
# repetition.
_SHORTEST, _LONGEST = 0.7, 1.4
_LEAST_DISTINCT = 0.5
_MORE_REPEATING = 0.05


class KeepBest(Checkpoint):
    """After every epoch: the weights if they are the best so far, then the log, then the state to resume from.

    The state comes last and holds the log and the best score, so that a run killed in between repeats the epoch and
    writes the same files again. Lightning runs callbacks of this kind after all others.
    """

    def __init__(self, folder: Path, patience: int, average: AveragedWeights | None = None) -> None:
        self._folder = folder
        self._patience = patience
        self._average = average
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
        """The row of the best epoch, the first of equals; epoch 0 is the model that training started from."""
        sound = [row for row in self.history if not went_astray(row, self.history[0])]
        return max(sound, key=lambda row: row[DEV_SCORE], default=None)

    @property
    def _exhausted(self) -> bool:
        return self.best is not None and self.history[-1]["epoch"] - self.best["epoch"] >= self._patience

    def on_sanity_check_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The model that training starts from counts as epoch 0: what is not better than it is not kept."""
        self.history = [{"epoch": 0, "steps": 0, **_dev_metrics(trainer)}]
        if trainer.is_global_zero:
            save_checkpoint(self._folder / BEST, pl_module.model.state_dict())  # type: ignore[union-attr]
            score = self.history[0][DEV_SCORE]
            print(f"  before training: dev CIDEr {score:.1f}", file=sys.stderr, flush=True)  # noqa: T201

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A run that was killed after its last epoch has nothing left to do."""
        trainer.should_stop = self._exhausted

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep what is worth keeping, and stop when dev has not improved for `patience` epochs."""
        metrics = trainer.callback_metrics
        reward = {TRAIN_REWARD: float(metrics[TRAIN_REWARD])} if TRAIN_REWARD in metrics else {}
        self.history.append(
            {
                "epoch": trainer.current_epoch + 1,
                "steps": trainer.global_step,
                "train_loss": float(metrics["train_loss"]),
                **reward,
                **_dev_metrics(trainer),
                "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "seconds": round(time.monotonic() - self._started, 2),
            }
        )
        best = self.best
        if trainer.is_global_zero:
            if best is self.history[-1]:
                weights = pl_module.model.state_dict()  # type: ignore[union-attr]
                if self._average is not None:
                    weights = self._average.weights(weights)
                save_checkpoint(self._folder / BEST, weights)
            self._write_log()
        trainer.save_checkpoint(self._folder / LAST)
        trainer.should_stop = self._exhausted
        if trainer.is_global_zero and best is not None:
            self._explain(best)

    def _explain(self, best: Mapping[str, float]) -> None:
        """Say what becomes of the epoch when it is not the best, and why."""
        reason = went_astray(self.history[-1], self.history[0])
        if reason:
            print(f"  not kept: {reason}", file=sys.stderr, flush=True)  # noqa: T201
        if self._exhausted:
            kept = f"those of epoch {best['epoch']:.0f}" if best["epoch"] else "those that training started from"
            epochs = "an epoch" if self._patience == 1 else f"{self._patience} epochs"
            print(  # noqa: T201
                f"  stopped: no better dev CIDEr for {epochs}; the weights kept are {kept}", file=sys.stderr, flush=True
            )

    def _write_log(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(self.history[-1]), restval="")  # epoch 0 has no training loss
        writer.writeheader()
        writer.writerows(self.history)
        temporary = self._folder / f".{LOG}.{os.getpid()}"
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        temporary.replace(self._folder / LOG)


def _dev_metrics(trainer: lightning.Trainer) -> dict[str, float]:
    names = (DEV_LOSS, DEV_SCORE, *DEV_HABITS.values())
    return {name: float(trainer.callback_metrics[name]) for name in names}


def went_astray(row: Mapping[str, float], start: Mapping[str, float]) -> str:
    """Why an epoch does not count, whatever its CIDEr: it has got into bad habits since epoch 0. Empty when it has not.

    Training by a metric finds its weak spots: captions too short or too long, that stutter, or that are all alike.
    """
    if start["epoch"] > 0 or row is start:
        return ""
    length, repeating, distinct = (DEV_HABITS[name] for name in ("length", "repeating_share", "distinct_2"))
    if not _SHORTEST < row[length] / max(start[length], 1e-9) < _LONGEST:
        return f"captions have {row[length]:.1f} words, and had {start[length]:.1f} before training"
    if row[repeating] > start[repeating] + _MORE_REPEATING:
        return (
            f"{row[repeating]:.0%} of the captions say something twice, and {start[repeating]:.0%} did before training"
        )
    if row[distinct] < _LEAST_DISTINCT * start[distinct]:
        return f"distinct-2 is {row[distinct]:.3f}, and was {start[distinct]:.3f} before training"
    return ""


@dataclass(frozen=True)
class _MovingAverage:
    """What torch's own function does, as a class, because processes are sent it."""

    decay: float

    def __call__(self, average: Tensor, weight: Tensor, count: Tensor) -> Tensor:
        return self.decay * average + (1 - self.decay) * weight


class AveragedWeights(WeightAveraging):
    """A moving average of the weights (Polyak and Juditsky 1992), which dev is captioned with and which is kept."""

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=_MovingAverage(decay))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every step."""
        return step_idx is not None

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The averaged weights with these names in the module's `model`."""
        assert self._average_model is not None
        averaged = self._average_model.module.model.state_dict()  # type: ignore[union-attr]
        return {name: averaged[name] for name in names}


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
                + (f"reward {float(metrics[TRAIN_REWARD]):.1f}, " if TRAIN_REWARD in metrics else "")
                + f"dev loss {float(metrics[DEV_LOSS]):.3f}, dev CIDEr {float(metrics[DEV_SCORE]):.1f}, "
                f"{time.monotonic() - self._started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
