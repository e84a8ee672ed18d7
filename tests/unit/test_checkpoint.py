"""Checkpoints come back as they were, or not at all: damage anywhere is noticed, and costs at most one epoch."""

import errno
import math
import os
import pickletools
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import Tensor, nn  # noqa: E402

from captioner.errors import TrainingError  # noqa: E402
from captioner.training import checkpoint  # noqa: E402
from captioner.training.checkpoint import load_checkpoint, newest_readable, previous_of, save_checkpoint  # noqa: E402


def same(left, right) -> bool:
    if isinstance(left, Tensor):
        return (
            isinstance(right, Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8))
        )
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def state(epoch: int = 1) -> dict:
    """What a training state looks like, and a few oddities."""
    torch.manual_seed(epoch)
    weights = torch.randn(3, 5)
    return {
        "epoch": epoch,
        "state_dict": {"vectors": weights, "tied": weights, "half": torch.randn(4).bfloat16(), "step": torch.tensor(7)},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(1.0)}, 11: {}}, "param_groups": [{"betas": (0.9, 0.99)}]}
        ],
        "callbacks": {"KeepBest": {"history": [{"epoch": 1, "loss": 0.1 + 0.2}, None, True, "élan"]}},
        "empty": [(), [], {}, torch.zeros(0, 3), None],
    }


def restored(path: Path, values):
    save_checkpoint(path, values)
    return load_checkpoint(path)


@pytest.mark.parametrize(
    "values",
    [
        state(),
        {},
        [],
        None,
        (1, (2, [3, (4,)])),
        {1: "integer", "1": "text", 1.5: "number"},
        {1: torch.ones(1), "1": torch.zeros(2)},
        {"a/b": torch.ones(1), "a": {"b": torch.zeros(2)}},
        {"__tensor__": "not a tensor", "__tuple__": [1], "__pairs__": []},
        [math.pi, 1e-300, 2**80, -0.0, math.inf],
        torch.tensor([[True], [False]]),
        torch.arange(12).reshape(3, 4).T,
    ],
    ids=str,
)
def test_values_come_back_as_they_were(tmp_path, values):
    assert same(restored(tmp_path / "x.safetensors", values), values)


def test_not_a_number_comes_back(tmp_path):
    assert math.isnan(restored(tmp_path / "x.safetensors", [math.nan])[0])


def test_a_model_and_its_optimiser_go_on_as_if_nothing_had_been(tmp_path):
    def network():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7))
        model[2].weight = model[0].weight  # tied
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    def steps(model, optimiser, count):
        for _ in range(count):
            optimiser.zero_grad()
            model(torch.arange(7)).square().sum().backward()
            optimiser.step()

    model, optimiser = network()
    steps(model, optimiser, 2)
    saved = restored(tmp_path / "x.safetensors", {"model": model.state_dict(), "optimiser": optimiser.state_dict()})
    steps(model, optimiser, 3)
    other, its_optimiser = network()
    other.load_state_dict(saved["model"])
    its_optimiser.load_state_dict(saved["optimiser"])
    steps(other, its_optimiser, 3)
    assert same(dict(other.state_dict()), dict(model.state_dict()))
    assert other[2].weight is other[0].weight


@pytest.mark.parametrize("values", [{"a": [object()]}, {"a": {1, 2}}, {(1, 2): "a tuple as key"}, {"f": len}])
def test_what_cannot_be_stored_is_refused_and_leaves_the_old_one(tmp_path, values):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, [1])
    with pytest.raises(TrainingError, match="cannot store"):
        save_checkpoint(path, values)
    assert load_checkpoint(path) == [1]
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_same_values_are_the_same_bytes(tmp_path):
    for name in "ab":
        save_checkpoint(tmp_path / name, state())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_there_is_no_pickle_in_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, state())
    content = path.read_bytes()
    assert int.from_bytes(content[:8], "little") < len(content)  # safetensors: the length of a JSON header, then JSON
    assert content[8:9] == b"{"
    assert b"\x80\x02" not in content[:10]
    with pytest.raises(ValueError, match=r"opcode|pickle|stack|exhausted"):
        list(pickletools.genops(content))


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def twice(tmp_path):
    """A checkpoint of epoch 2 that replaced one of epoch 1."""
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))
    return path


def goes_on_from_epoch_1(path: Path) -> bool:
    with pytest.raises(TrainingError, match=str(path)):
        load_checkpoint(path)
    found, sentence = newest_readable(path)
    return found == previous_of(path) and str(path) in sentence and same(load_checkpoint(found), state(1))


def test_the_one_before_is_kept(twice):
    assert same(load_checkpoint(twice), state(2))
    assert same(load_checkpoint(previous_of(twice)), state(1))
    assert newest_readable(twice) == (twice, "")
    assert len(list(twice.parent.iterdir())) == 2


def test_cut_anywhere_it_is_noticed(twice):
    content = twice.read_bytes()
    for share in range(20):
        twice.write_bytes(content[: len(content) * share // 20])
        assert goes_on_from_epoch_1(twice)
    twice.write_bytes(content[:-1])
    assert goes_on_from_epoch_1(twice)


@pytest.mark.parametrize("what", ["all", "the end", "the beginning", "more at the end"])
def test_zeroed_as_after_a_power_cut_it_is_noticed(twice, what):
    content = twice.read_bytes()
    half = len(content) // 2
    changed = {
        "all": bytes(len(content)),
        "the end": content[:half] + bytes(len(content) - half),
        "the beginning": bytes(half) + content[half:],
        "more at the end": content + bytes(100),
    }
    twice.write_bytes(changed[what])
    assert goes_on_from_epoch_1(twice)


def test_whatever_bit_is_flipped_it_is_noticed(twice):
    chance = random.Random(1)
    content = twice.read_bytes()
    for place in [0, 8, len(content) - 1, *chance.sample(range(len(content)), 250)]:
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        twice.write_bytes(changed)
        found, _ = newest_readable(twice)
        if found == twice:  # a blank in the header became another blank
            assert same(load_checkpoint(twice), state(2))
        else:
            assert goes_on_from_epoch_1(twice)


def test_a_foreign_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(TrainingError, match=r"x\.safetensors is damaged"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_both_gone_or_damaged_is_nothing_to_go_on_from(twice, tmp_path):
    assert newest_readable(tmp_path / "other.safetensors") == (None, "")
    for path in (twice, previous_of(twice)):
        path.write_bytes(b"")
    found, sentence = newest_readable(twice)
    assert found is None
    assert str(twice) in sentence


def test_a_missing_file_is_a_training_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot read the checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors")


# ---- a disk that does not take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write", "sync", "first rename", "second rename"])
def test_a_full_disk_leaves_what_was_there(twice, monkeypatch, step):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    replace = os.replace

    def fail(*_, **__):
        raise full

    def fail_at_target(source, target):
        if Path(target) == twice:
            raise full
        replace(source, target)

    if step == "write":
        monkeypatch.setattr(checkpoint, "save_file", fail)
    elif step == "sync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "replace", fail if step == "first rename" else fail_at_target)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(twice, state(3))
    found, sentence = newest_readable(twice)
    assert same(load_checkpoint(found), state(2))
    assert sentence == ""
    assert not [path for path in twice.parent.iterdir() if path.name.startswith(".")]


def test_a_folder_below_a_file_is_a_training_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingError, match="cannot save the checkpoint"):
        save_checkpoint(tmp_path / "file" / "x.safetensors", [1])
