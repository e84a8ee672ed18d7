"""Batches for training: pictures drawn in an order that seed and epoch alone decide, each with all its captions.

With several processes each batch is dealt out among them, so that the batches of an epoch are the same however many
there are. Knows nothing of networks.
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


class Counts(NamedTuple):
    """How much there is in a batch; what the terms of the loss are means over."""

    words: int
    """Predictions: words and end tokens."""
    captions: int
    pictures: int


class Batch(NamedTuple):
    """Some pictures and all their captions: of several processes, the share of one."""

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
    own: Counts
    """How much of it counts: all, or nothing where a batch has fewer pictures than there are processes, and a picture
    of no weight keeps one of them in step."""
    whole: Counts
    """How much there is in the batch of all processes."""


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

    Number n is picture n % pictures, seen as its view n // pictures. The process `rank` of `world` takes every
    `world`-th of the list.
    """

    def __init__(
        self, split: PreparedSplit, read: InputReader, special: SpecialTokens, rank: int = 0, world: int = 1
    ) -> None:
        self._split = split
        self._read = read
        self._special = special
        self._rank = rank
        self._world = world

    def __getitem__(self, numbers: Sequence[int]) -> Batch:
        views, pictures = np.divmod(np.asarray(numbers or [0], np.int64), len(self._split))
        captions, owners = [], []
        for position, picture in enumerate(pictures.tolist()):
            for caption in self._split.captions(picture):
                captions.append([*caption.tolist(), self._special.eos])
                owners.append(position)
        owner = np.asarray(owners, np.int64)
        tokens, lengths = caption_arrays(captions, self._special)
        whole = own = _counts(pictures, lengths) if numbers else Counts(0, 0, 0)
        if self._world > 1:
            has_share = self._rank < len(pictures)
            mine = np.arange(self._rank, len(pictures), self._world) if has_share else np.zeros(1, np.int64)
            kept = np.isin(owner, mine)
            owner, tokens, lengths = np.searchsorted(mine, owner[kept]), tokens[kept], lengths[kept]
            views, pictures = views[mine], pictures[mine]
            own = _counts(pictures, lengths) if has_share else Counts(0, 0, 0)
        inputs = self._read(self._split.rows[pictures, views])
        arrays = (inputs, owner, tokens, lengths, pictures)
        return Batch(*map(torch.from_numpy, arrays), own, whole)  # type: ignore[arg-type, call-arg]


def _counts(pictures: np.ndarray, lengths: np.ndarray) -> Counts:
    return Counts(int(lengths.sum()), len(lengths), len(pictures))


class EpochBatches(Sampler[list[int]]):
    """All pictures, shuffled and cut into batches, each as one of its views; epoch e of seed s is the same every time.

    What it gives are numbers for `CaptionBatches`; every process is given the same ones.
    """

    def __init__(self, pictures: int, batch_size: int, seed: int, *, views: int = 1) -> None:
        self._pictures = pictures
        self._views = views
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning when an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._pictures // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        order = random.permutation(self._pictures)
        order += self._pictures * random.integers(self._views, size=self._pictures)
        for start in range(0, self._pictures, self._batch_size):
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
        self._train, self._dev = train, dev
        self._read = read
        self._special = special
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
        pictures, views = self._train.rows.shape
        sampler = EpochBatches(pictures, self._batch_size, self._seed, views=views)
        batches = CaptionBatches(self._train, self._read, self._special, *self._place)
        return DataLoader(batches, sampler=sampler, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The dev pictures with their captions, in order, 128 at a time; several processes take turns."""
        pictures = list(range(len(self._dev)))
        chunks = [pictures[start : start + 128] for start in range(0, len(pictures), 128)]
        rank, world = self._place
        own = chunks[rank::world] or [[]]  # a process without a step would wait for the others for ever
        return DataLoader(CaptionBatches(self._dev, self._read, self._special), sampler=own, batch_size=None)

    @property
    def _place(self) -> tuple[int, int]:
        """Which process this is, of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
