"""Config, data and a fresh model → trained weights; goes on by itself where an earlier run was killed."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.loggers import TensorBoardLogger
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from captioner.config.build import TrainConfig
from captioner.errors import ConfigError, TrainingError
from captioner.training.callbacks import BEST, LAST, AveragedWeights, EpochProgress, KeepBest
from captioner.training.checkpoint import SafetensorsIO, load_checkpoint, newest_readable
from captioner.training.data import CaptionData
from captioner.training.module import DEV_SCORE, CaptionTask
from captioner.training.process import OwnProcess, quiet_lightning


@dataclass(frozen=True)
class TrainingRecord:
    """What training did, for the manifest and the report."""

    epochs: int
    """Epochs run, over all resumed parts."""
    best_epoch: int
    """Whose weights were kept."""
    best_dev_cider: float
    """CIDEr on dev with those weights, of captions of the search that `dev_beam` asks for."""
    seconds: float
    """Time spent in epochs, dev captioning included."""
    history: tuple[dict[str, float], ...]
    """One row an epoch."""


def fit(task: CaptionTask, data: CaptionData, config: TrainConfig, folder: Path, *, threads: int) -> TrainingRecord:
    """Train `task.model` in place and leave it with the weights of the best epoch, in evaluation mode.

    `folder` receives the checkpoints and the log; when it holds those of an unfinished run of the same build, that run
    goes on, on a CPU to bitwise the same weights as without the interruption.

    Raises:
        ConfigError: there is no such accelerator here, or not as many devices.
        TrainingError: the loss is not a number, the folder cannot be written, or its checkpoints are of another model.
        KeyboardInterrupt: Ctrl-C; the same call goes on from the last finished epoch.
    """
    torch.set_num_threads(threads)
    average = AveragedWeights(config.average) if config.average else None
    keep = KeepBest(folder, config.patience, average)
    resume_from, damage = newest_readable(folder / LAST)
    if damage:
        print(f"  {damage}; going on from the one before it", file=sys.stderr)  # noqa: T201
    if resume_from is not None:
        _require_same_network(resume_from, task)
        print(f"  going on from {resume_from}", file=sys.stderr)  # noqa: T201
    with quiet_lightning():
        trainer = _trainer(
            config,
            max_epochs=config.epochs,
            gradient_clip_val=config.clip,
            callbacks=[keep, EpochProgress(), OwnProcess(threads), *([average] if average else [])],
            plugins=[SafetensorsIO()],
            logger=_tensorboard(folder),
            default_root_dir=folder,
            # The model to start from is looked at first; a resumed run has done so.
            num_sanity_val_steps=-1 if config.start_from and resume_from is None else 0,
            use_distributed_sampler=False,  # `CaptionData` deals batches and dev pictures out
            enable_model_summary=False,
            deterministic=True,
        )
        # Deterministic mode also fills memory before it is written to, which changes nothing and costs 7 % of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(task, datamodule=data, ckpt_path=resume_from)
        except SystemExit:  # Lightning's answer to Ctrl-C; how the process ends is for the caller to say
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGTERM)
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
        except (ProcessRaisedException, ProcessExitedException) as error:  # in one of several training processes
            last_line = str(error).strip().splitlines()[-1]
            raise TrainingError(re.sub(r"^captioner\.errors\.\w+: ", "", last_line)) from None
    if (folder / LAST).exists():  # with several devices, the epochs were counted in other processes
        keep.load_state_dict(load_checkpoint(folder / LAST)["callbacks"][keep.state_key])
    best = keep.best
    if best is None:
        raise TrainingError(f"no epoch was finished; delete {folder} to train from the start")
    task.model.load_state_dict(load_checkpoint(folder / BEST))
    task.model.to("cpu").eval()
    return TrainingRecord(
        epochs=int(keep.history[-1]["epoch"]),
        best_epoch=int(best["epoch"]),
        best_dev_cider=best[DEV_SCORE],
        seconds=round(sum(row.get("seconds", 0.0) for row in keep.history), 1),
        history=tuple(keep.history),
    )


def require_hardware(config: TrainConfig) -> None:
    """Raise ConfigError unless this machine has what training is to run on."""
    with quiet_lightning():
        _trainer(config, logger=False, enable_checkpointing=False)


def _trainer(config: TrainConfig, **options: Any) -> lightning.Trainer:
    """A Lightning trainer on the accelerator, devices and precision of `config`."""
    asked = f"--accelerator {config.accelerator} --devices {config.devices} --precision {config.precision}"
    try:
        trainer = lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices or "auto",
            # Processes of their own that run the training and nothing else of the build.
            strategy="auto" if config.devices == 1 else "ddp_spawn",
            precision=config.precision,  # type: ignore[arg-type]
            **options,
        )
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"{asked} cannot be had on this machine: {str(error).splitlines()[0]}") from None
    if config.precision == "16-mixed" and isinstance(trainer.accelerator, CPUAccelerator):
        raise ConfigError(f"{asked} cannot be had on this machine: a CPU computes bf16-mixed or 32-true")
    return trainer


def _require_same_network(checkpoint: Path, task: CaptionTask) -> None:
    stored = {name: weight.shape for name, weight in load_checkpoint(checkpoint)["state_dict"].items()}
    if stored != {name: weight.shape for name, weight in task.state_dict().items()}:
        raise TrainingError(f"{checkpoint} is of another model; delete {checkpoint.parent} to train from the start")


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard logger when TensorBoard is installed; the CSV log is written always."""
    if importlib.util.find_spec("tensorboard") is None:
        return False
    return TensorBoardLogger(folder, name=None, version="tensorboard")
