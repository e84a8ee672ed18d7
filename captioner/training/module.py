"""The one LightningModule: loss for training; captions, their CIDEr and the loss for validation.

Epochs are ranked by the captions that the model writes freely, never by words predicted from the true ones before
them: the two rank models differently, and only the first is what a user gets. The loss on dev is for people to look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import lightning
import torch
import torch.distributed
from torch import Tensor

from captioner.config.build import TrainConfig
from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.errors import TrainingError
from captioner.metrics.health import Habits, habits
from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import DecoderSizes
from captioner.models.encoders.batch_norm import count_share
from captioner.models.torch_step import TorchStepModel
from captioner.training.data import Batch
from captioner.training.distillation import Teachers, distillation_loss
from captioner.training.losses import WordPresence, attend_all_loss, caption_loss, policy_loss
from captioner.training.self_critical import Drawn, SelfCritic
from captioner.types import SpecialTokens

DEV_SCORE = "dev_cider"
DEV_LOSS = "dev_loss"
DEV_HABITS = {field.name: f"dev_{field.name}" for field in fields(Habits)}
TRAIN_REWARD = "train_reward"

_APART = 0x9E3779B1
"""Between the seeds of processes: odd and far from small, since torch's CPU generator takes the low 32 bits alone."""

ScoreTokens = Callable[[Sequence[Sequence[int]]], float]
"""The captions of all dev pictures, in order, as word ids → their score, higher is better."""


class CaptionTask(lightning.LightningModule):
    """Trains a `CaptionModel` as `TrainConfig` says."""

    def __init__(
        self,
        model: CaptionModel,
        config: TrainConfig,
        special: SpecialTokens,
        score_dev: ScoreTokens,
        max_length: int,
        sizes: DecoderSizes,
        critic: SelfCritic | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        asks_for_words = config.word_presence > 0
        self.word_presence = WordPresence(sizes.feature_shape, sizes.vocabulary) if asks_for_words else None
        self._config = config
        self._special = special
        self._score_dev = score_dev
        self._critic = critic
        self._teachers = teachers
        self._search = DecodeConfig(beam=config.dev_beam, max_length=max_length)
        self._dev = _DevPart()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Make dropout a function of seed and step, so that a resumed run repeats it bit by bit."""
        # Seeding once an epoch would not do: opening a DataLoader draws from the same generator, before or after the
        # epoch begins, as the run is a fresh or a resumed one.
        torch.manual_seed(self._config.seed * 1_000_003 + self.global_step + self.global_rank * _APART)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch. Raises TrainingError when it is not a number."""
        drawn = self._drawn(self._critic, batch) if self._critic is not None else None
        count_share(self.model, batch.own.pictures > 0)
        features = self.model.look(batch.inputs)
        words, captions, pictures = self._weights(batch.own, batch.whole)
        if drawn is None:
            loss, attended = self._loss(features, batch, self._teachers)
            loss = words * loss
        else:
            loss, attended = self._policy_loss(features, drawn, batch)
            captions = pictures  # as many are drawn for each
            if self._config.ground > 0:
                loss = loss + self._config.ground * words * self._loss(features, batch)[0]
        self._log_mean("train_loss", loss, batch)
        if attended is not None and self._config.attend_all > 0:
            loss = loss + self._config.attend_all * captions * attend_all_loss(attended)
        if self.word_presence is not None:
            presence = self.word_presence(features, batch.owner, batch.tokens)
            loss = loss + self._config.word_presence * pictures * presence
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_index + 1}; "
                "lower --learning-rate or --clip and start again: the last good epoch is kept"
            )
        return loss

    def _loss(self, features: Tensor, batch: Batch, teachers: Teachers | None = None) -> tuple[Tensor, Tensor | None]:
        """The loss of the words, and what the captions looked at."""
        parts = (batch.owner, batch.tokens[:, :-1], batch.lengths)
        logits, attended = self.model.write(features, *parts)
        loss = caption_loss(logits, batch.tokens, batch.lengths, self._config.label_smoothing)
        if teachers is not None:
            expected = teachers.probabilities(features.detach(), *parts)
            loss = loss + teachers.share * (distillation_loss(logits, expected) - loss)
        return loss, attended

    def _weights(self, own: Sequence[float], whole: Sequence[float]) -> list[float]:
        """What means over shares of a batch are multiplied by, so that their mean over all processes is its own.

        Gradients are averaged over the processes, whatever their shares.
        """
        world = self.trainer.world_size
        return [world * mine / all_of_them for mine, all_of_them in zip(own, whole, strict=True)]

    def _log_mean(self, name: str, value: Tensor, batch: Batch) -> None:
        """Log a term of the loss, weighted as above, for its mean over the epoch."""
        captions = batch.whole.captions
        self.log(name, value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=captions)

    def _policy_loss(self, features: Tensor, drawn: Drawn, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The loss of captions that the model drew itself, weighted as above, and what they looked at."""
        logits, attended = self.model.write(features, drawn.owner, drawn.tokens[:, :-1], drawn.lengths)
        words = int(drawn.lengths.sum()) if batch.own.pictures else 0
        (share,) = self._weights([words], [self._sum(words)])
        (pictures,) = self._weights([batch.own.pictures], [batch.whole.pictures])
        self._log_mean(TRAIN_REWARD, 100 * pictures * drawn.rewards.mean(), batch)
        return share * policy_loss(logits, drawn.tokens, drawn.lengths, drawn.advantages), attended

    def _sum(self, count: int) -> int:
        """The sum over all processes."""
        if self.trainer.world_size == 1:
            return count
        return int(self.trainer.strategy.reduce(torch.tensor(count, device=self.device), reduce_op="sum"))

    def _drawn(self, critic: SelfCritic, batch: Batch) -> Drawn:
        """Captions that the model draws for the pictures of a batch, as it is in use: without dropout."""
        self.model.eval()
        seed = (self._config.seed, self.global_step, self.global_rank)
        drawn = critic.draw(
            TorchStepModel(self.model), batch.inputs.float().cpu().numpy(), batch.pictures.numpy(), seed
        )
        self.model.train()
        return drawn._replace(
            owner=drawn.owner.to(self.device),
            tokens=drawn.tokens.to(self.device),
            rewards=drawn.rewards.to(self.device),
            advantages=drawn.advantages.to(self.device),
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the captions of the epoch before."""
        self._dev = _DevPart()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Write a caption for each picture; and the loss of the true ones, without dropout."""
        if not batch.own.pictures:
            return
        found = decode(TorchStepModel(self.model), batch.inputs.float().cpu().numpy(), self._search, self._special)
        loss, _ = self._loss(self.model.look(batch.inputs), batch)
        written = [candidates[0].tokens for candidates in found]
        self._dev.add(batch, written, float(loss))

    def on_validation_epoch_end(self) -> None:
        """Score the captions of the whole dev part, which several processes have written parts of."""
        captions, loss = self._dev.gathered(self.trainer.world_size)
        measured = {DEV_SCORE: self._score_dev(captions), DEV_LOSS: loss}
        for name, value in asdict(habits(captions)).items():
            measured[DEV_HABITS[name]] = value
        self.log_dict(measured, sync_dist=True)  # all processes have the same

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up and a cosine to zero over all steps; weight decay on matrices alone."""
        encoder = self.model.encoder
        pretrained = set(encoder.parameters()) if encoder is not None and encoder.is_finetuned else set()
        groups: dict[tuple[bool, bool], dict[str, Any]] = {}
        # The pretrained ones come last, so that the rate in the log is that of the decoder.
        for weight in sorted(self.parameters(), key=lambda weight: weight in pretrained):
            if weight.requires_grad:
                kind = (weight in pretrained, weight.dim() >= 2)
                group = groups.setdefault(kind, {"params": [], "lr": self._config.learning_rate})
                group["params"].append(weight)
                if kind[0]:
                    group["lr"] = self._config.encoder_learning_rate
                if not kind[1]:
                    group["weight_decay"] = 0.0
        optimizer = torch.optim.AdamW(
            list(groups.values()),
            lr=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            fused=self._config.precision == "32-true",  # Lightning clips no gradients of a fused one in mixed precision
        )
        steps = int(self.trainer.estimated_stepping_batches)
        warm = max(1, round(self._config.warmup * steps))

        def share(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class _DevPart:
    """What one process has found out about its part of the dev pictures."""

    def __init__(self) -> None:
        self._captions: dict[int, Sequence[int]] = {}
        self._losses: dict[int, tuple[float, int]] = {}

    def add(self, batch: Batch, captions: Sequence[Sequence[int]], loss: float) -> None:
        """Take the captions written for the pictures of a batch, and the mean loss of the true ones."""
        places = batch.pictures.tolist()
        self._captions.update(zip(places, captions, strict=True))
        self._losses[places[0]] = (loss, batch.own.captions)

    def gathered(self, world: int) -> tuple[list[Sequence[int]], float]:
        """The captions of all dev pictures in order, and the mean loss over their true ones, from all processes."""
        parts: list[Any] = [self]
        if world > 1:
            parts = [None] * world
            torch.distributed.all_gather_object(parts, self)
        captions = {place: caption for part in parts for place, caption in part._captions.items()}
        losses = dict(sorted(item for part in parts for item in part._losses.items())).values()
        mean = sum(loss * count for loss, count in losses) / max(1, sum(count for _, count in losses))
        return [captions[place] for place in sorted(captions)], mean
