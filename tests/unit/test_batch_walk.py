"""Folders as people have them: links that lead round, special files, names of any bytes, many files."""

import os
import socket
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from captioner.batch.sources import FolderSource
from captioner.batch.walk import Which, walk


def found(folder, which=None):
    reasons = {}
    keys = [key for key, _ in walk(folder, which or Which(), lambda path, reason: reasons.update({path: reason}))]
    return keys, reasons


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_come_before_folders_in_order_and_only_pictures(tmp_path):
    touch(*(tmp_path / name for name in ("b.jpg", "a.PNG", "z/c.gif", "m/n/d.webp", "notes.txt", ".h.jpg", ".g/x.jpg")))
    assert found(tmp_path)[0] == ["a.PNG", "b.jpg", "m/n/d.webp", "z/c.gif"]
    assert found(tmp_path, Which(hidden=True))[0] == [".h.jpg", "a.PNG", "b.jpg", ".g/x.jpg", "m/n/d.webp", "z/c.gif"]
    assert found(tmp_path, Which(recursive=False))[0] == ["a.PNG", "b.jpg"]
    assert found(tmp_path, Which(include=("*.txt", "m/*"), exclude=("z",)))[0] == ["notes.txt", "m/n/d.webp"]
    assert found(tmp_path, Which(exclude=("*.PNG", "n")))[0] == ["b.jpg", "z/c.gif"]


def test_links_are_followed_once_or_not_at_all_and_the_walk_ends(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    touch(home / "a.jpg", home / "sub" / "b.jpg", outside / "c.jpg")
    (home / "loop").symlink_to("loop")
    (home / "self").symlink_to(home)
    (home / "sub" / "up").symlink_to(home)
    (home / "inner.jpg").symlink_to(home / "a.jpg")
    (home / "broken.jpg").symlink_to(home / "none.jpg")
    (home / "out.jpg").symlink_to(outside / "c.jpg")
    (home / "out").symlink_to(outside)
    os.link(home / "a.jpg", home / "sub" / "hard.jpg")
    keys, reasons = found(home)
    assert keys == ["a.jpg", "sub/b.jpg"]
    assert reasons[str(home / "broken.jpg")] == "a link that leads nowhere"
    assert "--follow-links" in reasons[str(home / "out")]
    keys, _ = found(home, Which(follow_links=True))
    assert len(keys) == 3
    assert {"a.jpg", "sub/b.jpg"} < set(keys)
    assert set(keys) & {"out.jpg", "out/c.jpg"}


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
def test_pipes_and_sockets_are_named_and_never_opened(tmp_path):
    touch(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/s.jpg")
        assert found(Path(short)) == ([], {f"{short}/s.jpg": "a pipe, socket or device"})
    done = []
    thread = threading.Thread(target=lambda: done.append(found(tmp_path)), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [(["a.jpg"], {str(tmp_path / "pipe.jpg"): "a pipe, socket or device"})]


def test_a_tree_two_hundred_deep(tmp_path):
    folder = tmp_path
    for _ in range(200):
        folder = folder / "d"
    touch(folder / "a.jpg")
    assert found(tmp_path)[0] == ["d/" * 200 + "a.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are a thing of Linux")
def test_names_of_any_bytes_are_told_apart(tmp_path):
    names = [b"b\xe4r.jpg", "b\u00e4r.jpg".encode(), "ba\u0308r.jpg".encode(), b"\n.jpg", b"-.jpg", b"A.jpg", b"a.jpg",
             "犬😀.jpg".encode(), b" .jpg", b"x" * 251 + b".jpg"]  # fmt: skip
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:  # noqa: PTH123 - a name in bytes
            file.write(name)
    items = list(FolderSource(tmp_path, Which()).items(pytest.fail))
    assert {os.fsencode(item.key) for item in items} == set(names)
    assert all(item.source.read_bytes() == os.fsencode(item.key) for item in items)
    assert all(item.source.name.isprintable() for item in items)


def test_the_first_of_very_many_comes_before_the_last_is_looked_at(tmp_path):
    touch(*(tmp_path / f"{number:05}.jpg" for number in range(12_000)))
    walking = walk(tmp_path, Which(), lambda path, reason: None)  # of what was listed and is gone
    next(walking)
    for path in list(tmp_path.iterdir())[:11_000]:
        path.unlink()
    assert sum(1 for _ in walking) < 10_000


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read_is_named(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "closed" / "b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        keys, reasons = found(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert keys == ["a.jpg"]
    assert reasons == {str(tmp_path / "closed"): "Permission denied"}
