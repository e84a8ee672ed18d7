"""What a batch holds, and in which order pictures come: decided by seed and epoch alone."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.errors import DataError  # noqa: E402
from captioner.training.data import CaptionBatches, CaptionData, EpochBatches  # noqa: E402
from captioner.training.prepared import PreparedSplit  # noqa: E402
from captioner.types import SpecialTokens  # noqa: E402

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
PICTURES = [
    (40, [[4, 5], [6]]),
    (7, [[7, 8, 9, 4]]),
    (7, [[5], [5, 5], []]),  # the row of the picture before, and a caption without words
    (0, [[65_000, 4_000_000_000]]),
]


@pytest.fixture
def split(tmp_path):
    PreparedSplit.save(tmp_path, [([row], captions) for row, captions in PICTURES])
    return PreparedSplit(tmp_path)


def read(rows: np.ndarray) -> np.ndarray:
    """Features of two numbers that tell the row."""
    return np.stack([rows, -rows], axis=1).astype(np.float32)


# ---- prepared split -------------------------------------------------------------------------------------------------


def test_the_files_are_those_that_numpy_writes(split, tmp_path):
    flat = [word for _, captions in PICTURES for caption in captions for word in caption]
    counts = [len(captions) for _, captions in PICTURES]
    lengths = [len(caption) for _, captions in PICTURES for caption in captions]
    expected = {
        "rows": np.array([[row] for row, _ in PICTURES], np.int64),
        "first": np.cumsum([0, *counts]),
        "offsets": np.cumsum([0, *lengths]),
        "words": np.array(flat, np.uint32),
    }
    for name, array in expected.items():
        np.save(tmp_path / "expected.npy", array)
        assert (tmp_path / f"{name}.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes(), name


def test_a_split_comes_back_as_it_was_saved(split):
    assert len(split) == 4
    assert split.rows.tolist() == [[row] for row, _ in PICTURES]
    for picture, (_, captions) in enumerate(PICTURES):
        assert [caption.tolist() for caption in split.captions(picture)] == captions


def test_an_empty_split_comes_back(tmp_path):
    PreparedSplit.save(tmp_path, [])
    assert len(PreparedSplit(tmp_path)) == 0


@pytest.mark.parametrize("name", ["rows.npy", "first.npy", "offsets.npy", "words.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "pickle"])
def test_a_damaged_split_says_what_to_do(tmp_path, split, name, damage):
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="delete the folder and build again"):
        PreparedSplit(tmp_path)


# ---- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_by_hand(split):
    batch = CaptionBatches(split, read, SPECIAL)[[1, 0]]
    assert batch.inputs.tolist() == [[7, -7], [40, -40]]
    assert batch.inputs.dtype == torch.float32
    assert batch.owner.tolist() == [0, 1, 1]
    assert batch.tokens.tolist() == [
        [1, 7, 8, 9, 4, 2],
        [1, 4, 5, 2, 0, 0],
        [1, 6, 2, 0, 0, 0],
    ]
    assert batch.lengths.tolist() == [5, 3, 2]
    assert {batch.owner.dtype, batch.tokens.dtype, batch.lengths.dtype} == {torch.int64}


def test_a_caption_without_words_ends_at_once(split):
    batch = CaptionBatches(split, read, SPECIAL)[[2]]
    assert batch.tokens.tolist() == [[1, 5, 2, 0], [1, 5, 5, 2], [1, 2, 0, 0]]
    assert batch.lengths.tolist() == [2, 3, 1]


def test_large_word_ids_survive(split):
    assert CaptionBatches(split, read, SPECIAL)[[3]].tokens.tolist() == [[1, 65_000, 4_000_000_000, 2]]


def test_lengths_stay_on_the_cpu_whatever_the_device(split):
    data = CaptionData(split, split, read, SPECIAL, batch_size=2, seed=1)
    moved = data.transfer_batch_to_device(CaptionBatches(split, read, SPECIAL)[[1, 0]], torch.device("meta"), 0)
    assert {moved.inputs.device.type, moved.owner.device.type, moved.tokens.device.type} == {"meta"}
    assert moved.lengths.tolist() == [5, 3, 2]


def test_each_batch_reads_the_store_once(split):
    calls = []
    CaptionBatches(split, lambda rows: calls.append(rows.tolist()) or read(rows), SPECIAL)[[0, 3, 1]]
    assert calls == [[40, 0, 7]]


def test_dev_pictures_come_in_order_and_all_of_them(split, tmp_path):
    rows = np.random.default_rng(0).permutation(300)
    PreparedSplit.save(tmp_path / "dev", [([row], [[5]]) for row in rows])
    data = CaptionData(split, PreparedSplit(tmp_path / "dev"), read, SPECIAL, batch_size=2, seed=1)
    batches = list(data.val_dataloader())
    assert [len(batch.inputs) for batch in batches] == [128, 128, 44]
    assert torch.cat([batch.inputs for batch in batches])[:, 0].tolist() == rows.tolist()


def test_every_caption_of_every_picture_is_in_an_epoch_once(split):
    data = CaptionData(split, split, read, SPECIAL, batch_size=3, seed=1)
    seen = [
        (batch.inputs[owner, 0].item(), tuple(tokens[1:length].tolist()))
        for batch in data.train_dataloader()
        for owner, tokens, length in zip(batch.owner, batch.tokens, batch.lengths, strict=True)
    ]
    assert sorted(seen) == sorted((row, tuple(caption)) for row, captions in PICTURES for caption in captions)


def test_a_picture_is_read_as_the_view_that_was_drawn(tmp_path):
    PreparedSplit.save(tmp_path, [([10, 11, 12], [[4]]), ([20, 21, 22], [[5], [6]])])
    split = PreparedSplit(tmp_path)
    batch = CaptionBatches(split, read, SPECIAL)[[0, 1, 2, 5]]
    assert batch.inputs[:, 0].tolist() == [10, 20, 11, 22]
    assert batch.pictures.tolist() == [0, 1, 0, 1]
    assert batch.tokens[:, 1].tolist() == [4, 5, 6, 4, 5, 6]


def test_an_epoch_has_every_picture_once_each_as_one_of_its_views():
    rounds = []
    for number in range(40):
        batches = EpochBatches(50, 8, 3, views=4)
        batches.set_epoch(number)
        drawn = [each for batch in batches for each in batch]
        assert sorted(each % 50 for each in drawn) == list(range(50))
        rounds.append(sorted(drawn))
    counts = np.bincount([each // 50 for drawn in rounds for each in drawn])
    assert len(counts) == 4
    assert (abs(counts - 500) < 100).all()  # a quarter of 2,000 each, five standard deviations at most
    assert len({tuple(drawn) for drawn in rounds}) == 40


# ---- the order of an epoch ------------------------------------------------------------------------------------------


def epoch(number: int, *, pictures=103, batch_size=10, seed=5) -> list[list[int]]:
    batches = EpochBatches(pictures, batch_size, seed)
    batches.set_epoch(number)
    found = list(batches)
    assert len(found) == len(batches)
    return found


def test_every_epoch_is_a_permutation_and_no_two_are_the_same():
    orders = []
    for number in range(5):
        batches = epoch(number)
        assert [len(batch) for batch in batches] == [10] * 10 + [3]
        order = [picture for batch in batches for picture in batch]
        assert sorted(order) == list(range(103))
        assert order not in orders
        orders.append(order)


def test_seed_and_epoch_alone_decide_the_order():
    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(3, seed=6)
    batches = EpochBatches(103, 10, 5)
    list(batches)  # an epoch that was run, or not, changes nothing
    batches.set_epoch(3)
    assert list(batches) == list(batches) == epoch(3)


def test_seed_and_epoch_do_not_stand_in_for_each_other():
    assert epoch(1, seed=2) != epoch(2, seed=1)
    assert epoch(0, seed=1) != epoch(1, seed=0)


@pytest.mark.parametrize(("pictures", "sizes"), [(1, [1]), (9, [9]), (10, [10]), (11, [10, 1])])
def test_small_data(pictures, sizes):
    assert [len(batch) for batch in epoch(0, pictures=pictures)] == sizes


# ---- several processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_every_batch_each_picture_once(split, world):
    shares = [CaptionBatches(split, read, SPECIAL, rank, world)[[3, 0, 1]] for rank in range(world)]
    counted = [picture for share in shares if share.own.pictures for picture in share.pictures.tolist()]
    assert sorted(counted) == [0, 1, 3]
    whole = CaptionBatches(split, read, SPECIAL)[[3, 0, 1]]
    assert {share.whole for share in shares} == {whole.own} == {whole.whole}
    assert whole.whole == (int(whole.lengths.sum()), len(whole.lengths), 3)
    assert tuple(map(sum, zip(*(share.own for share in shares), strict=True))) == whole.own


def test_a_process_without_a_share_has_a_picture_that_does_not_count(split):
    batch = CaptionBatches(split, read, SPECIAL, 1, 2)[[3]]
    assert batch.own == (0, 0, 0)
    assert len(batch.pictures) == len(batch.inputs) == 1


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_dev_pictures(split, tmp_path, world):
    PreparedSplit.save(tmp_path / "dev", [([row], [[5]]) for row in range(300)])
    seen = []
    for rank in range(world):
        data = CaptionData(split, PreparedSplit(tmp_path / "dev"), read, SPECIAL, batch_size=2, seed=1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world)
        batches = list(data.val_dataloader())
        assert batches
        seen += [picture for batch in batches if batch.own.pictures for picture in batch.pictures.tolist()]
    assert sorted(seen) == list(range(300))
