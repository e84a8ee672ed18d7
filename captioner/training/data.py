"""Batches for training: pictures drawn in an order that seed and epoch alone decide, each with all its captions.

Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from captioner.training.prepared import PreparedSplit
from captioner.types import SpecialTokens

InputReader = Callable[[np.ndarray], np.ndarray]
"""Rows of the store, int (n,) → what the model looks at, float32 (n, …): features, or normalised pixels."""


class Batch(NamedTuple):
    """Some pictures and all their captions."""

    inputs: Tensor
    """float32 (pictures, …)"""
    owner: Tensor
    """int64 (batch,): which of the pictures each caption belongs to"""
    tokens: Tensor
    """int64 (batch, time + 1): begin token, words, end token, padding"""
    lengths: Tensor
    """int64 (batch,): predictions in each caption, the end token included; stays on the CPU, where packing wants it"""
    pictures: Tensor
    """int64 (pictures,): their places in the split; stays on the CPU"""


def caption_arrays(captions: Sequence[Sequence[int]], special: SpecialTokens) -> tuple[np.ndarray, np.ndarray]:
    """Captions of different lengths side by side.

    Args:
        captions: what is to be predicted of each, word ids and end token.
        special: the tokens that are no words.

    Returns:
        Tokens, int64 (batch, time + 1): the begin token before each caption and padding after it; and the lengths of
        the captions, int64 (batch,).
    """
    lengths = np.array([len(caption) for caption in captions], np.int64)
    tokens = np.full((len(captions), lengths.max() + 1), special.pad, np.int64)
    tokens[:, 0] = special.bos
    for row, caption in zip(tokens, captions, strict=True):
        row[1 : len(caption) + 1] = caption
    return tokens, lengths


class CaptionBatches(Dataset[Batch]):
    """Indexed by a whole list at a time, so that each batch reads the store once.

    Number n is picture n % pictures, seen as its view n // pictures.
    """

    def __init__(self, split: PreparedSplit, read: InputReader, special: SpecialTokens) -> None:
        self._split = split
        self._read = read
        self._special = special

    def __getitem__(self, numbers: Sequence[int]) -> Batch:
        views, pictures = np.divmod(np.asarray(numbers, np.int64), len(self._split))
        captions, owner = [], []
        for position, picture in enumerate(pictures.tolist()):
            for caption in self._split.captions(picture):
                captions.append([*caption.tolist(), self._special.eos])
                owner.append(position)
        tokens, lengths = caption_arrays(captions, self._special)
        inputs = self._read(self._split.rows[pictures, views])
        arrays = (inputs, np.asarray(owner, np.int64), tokens, lengths, pictures)
        return Batch(*(torch.from_numpy(array) for array in arrays))


class EpochBatches(Sampler[list[int]]):
    """All pictures, shuffled and cut into batches, each as one of its views; epoch e of seed s is the same every time.

    What it gives are numbers for `CaptionBatches`.
    With several processes each takes every `world`-th batch, the same number each: left-over batches are dropped, and
    when there are fewer batches than processes, some are taken twice.
    """

    def __init__(
        self, pictures: int, batch_size: int, seed: int, rank: int = 0, world: int = 1, *, views: int = 1
    ) -> None:
        self._pictures = pictures
        self._views = views
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world = world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning when an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        batches = -(-self._pictures // self._batch_size)
        return max(1, batches // self._world)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        order = random.permutation(self._pictures)
        order += self._pictures * random.integers(self._views, size=self._pictures)
        starts = range(0, self._pictures, self._batch_size)
        for turn in range(len(self)):
            start = starts[(self._rank + turn * self._world) % len(starts)]
            yield order[start : start + self._batch_size].tolist()


class CaptionData(lightning.LightningDataModule):
    """Training and dev batches for a `CaptionTask`."""

    def __init__(
        self,
        train: PreparedSplit,
        dev: PreparedSplit,
        read: InputReader,
        special: SpecialTokens,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._batches = CaptionBatches(train, read, special)
        self._pictures, self._views = train.rows.shape
        self._dev_batches = CaptionBatches(dev, read, special)
        self._dev_pictures = len(dev)
        self._batch_size = batch_size
        self._seed = seed

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Everything but the lengths of the captions, and which pictures they are."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        if isinstance(batch, Batch):
            moved = moved._replace(lengths=batch.lengths, pictures=batch.pictures)
        return moved

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of one epoch."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = EpochBatches(self._pictures, self._batch_size, self._seed, rank, world, views=self._views)
        return DataLoader(self._batches, sampler=sampler, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The dev pictures with their captions, in order, 128 at a time."""
        pictures = list(range(self._dev_pictures))
        chunks = [pictures[start : start + 128] for start in range(0, len(pictures), 128)]
        return DataLoader(self._dev_batches, sampler=chunks, batch_size=None)
