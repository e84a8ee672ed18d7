"""Listings of folders hold no more names than they must, and are those of the system's own."""

import os
import sys

import pytest

from captioner.datasets import folders
from captioner.datasets.folders import files_in, folders_in, has_files, names_in_order


@pytest.fixture
def folder(tmp_path):
    for number in range(40):
        (tmp_path / f"{number % 7}-{number}.txt").touch()
    for name in ("b", "a", ".hidden", "ä", "A"):
        (tmp_path / name).mkdir()
    (tmp_path / ".secret.txt").touch()
    (tmp_path / "link.txt").symlink_to(tmp_path / "0-0.txt")
    (tmp_path / "other").symlink_to(tmp_path / "a")
    return tmp_path


@pytest.mark.parametrize("in_memory", [1, 45, 10_000])
def test_names_come_in_order_sorted_in_memory_or_on_disk(folder, in_memory, monkeypatch):
    monkeypatch.setattr(folders, "_IN_MEMORY", in_memory)
    if sys.platform == "linux":
        (folder / os.fsdecode(b"b\xe4r.txt")).touch()
    seen = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208
    found = list(names_in_order(folder))
    assert [name for name, _ in found] == sorted(seen, key=os.fsencode)
    assert {name for name, is_folder in found if is_folder} == {"a", "b", "ä", "A", "other"}


def test_files_and_folders_are_told_apart(folder):
    assert [path.name for path in folders_in(folder)] == ["A", "a", "b", "other", "ä"]
    assert len(files_in(folder)) == 41
    assert [path.name for path in files_in(folder, "3-*.txt")] == sorted(
        f"3-{number}.txt" for number in range(3, 40, 7)
    )
    assert has_files(folder)
    assert not has_files(folder / "a")


def test_what_is_no_folder_has_nothing_in_it(tmp_path):
    assert files_in(tmp_path / "none") == folders_in(tmp_path / "none") == []
    assert not has_files(tmp_path / "none")
    with pytest.raises(OSError, match="none"):
        list(names_in_order(tmp_path / "none"))
