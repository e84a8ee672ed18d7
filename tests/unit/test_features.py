"""The feature store: resumable whenever it is killed, one row a picture, the same whatever the number of threads."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from captioner.errors import FeatureError
from captioner.features import KEY_BYTES, FeatureStore, extract
from captioner.images import BytesSource, PreprocessSpec
from captioner.types import Record

SPEC = PreprocessSpec(size=4)
SHAPE = (3,)
ROW_BYTES = 3 * 2


def bitmap(number: int, *, size: int = 6) -> bytes:
    """A BMP file of one colour, written out by hand: another one for each number."""
    pixels = bytes((number % 256, number // 256 % 256, 7)) * size
    row = pixels + bytes(-len(pixels) % 4)
    header = b"BM" + (54 + len(row) * size).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    about = (40).to_bytes(4, "little") + size.to_bytes(4, "little") * 2 + (1).to_bytes(2, "little")
    return header + about + (24).to_bytes(2, "little") + bytes(24) + row * size


def record(name: str, data: bytes) -> Record:
    return Record(name, BytesSource(name, data), ("a caption",), "train")


def records(count: int) -> list[Record]:
    return [record(f"p{number}", bitmap(number)) for number in range(count)]


class Encoder:
    """A stand-in for a network: the mean colour of a square, and the count of squares that it was shown."""

    def __init__(self) -> None:
        self.squares = 0

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        assert squares.dtype == np.uint8
        assert squares.shape[1:] == (4, 4, 3)
        self.squares += len(squares)
        return squares.mean(axis=(1, 2)).astype(np.float32)


def open_store(folder: Path, **identity) -> FeatureStore:
    return FeatureStore(folder, SHAPE, "float16", identity or {"encoder": "mean"})


def fill(folder: Path, items, *, threads: int = 1, batch: int = 4):
    """Everything extracted, the rows by picture, and how many squares the encoder was shown."""
    store, encoder = open_store(folder), Encoder()
    found = list(extract(items, store, encoder, SPEC, threads=threads, batch=batch))
    rows = [store.reader()(np.array([each.row]))[0] if each.row is not None else None for each in found]
    return found, rows, encoder.squares


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(open_store(folder).folder.iterdir())}


def test_rows_are_what_the_encoder_made_of_the_pictures_in_order(tmp_path):
    found, rows, squares = fill(tmp_path, records(10))
    assert [each.record.image_id for each in found] == [f"p{number}" for number in range(10)]
    assert [each.row for each in found] == list(range(10))
    assert squares == 10
    for number, row in enumerate(rows):
        assert row.dtype == np.float16
        assert row.tolist() == [7, 0, number]  # BMP keeps blue first


def test_a_second_run_reads_no_pixel_and_changes_nothing(tmp_path):
    first, _, _ = fill(tmp_path, records(10))
    before = contents(tmp_path)
    second, _, squares = fill(tmp_path, records(10))
    assert squares == 0
    assert [each.row for each in second] == [each.row for each in first]
    assert contents(tmp_path) == before


def test_a_changed_picture_alone_is_computed_again(tmp_path):
    items = records(10)
    fill(tmp_path, items)
    items[4] = record("p4", bitmap(400))
    found, rows, squares = fill(tmp_path, items)
    assert squares == 1
    assert found[4].row == 10
    assert rows[4].tolist() == [7, 1, 144]  # 400 = 1 · 256 + 144
    assert [each.row for each in found if each.record.image_id != "p4"] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_another_identity_is_another_folder(tmp_path):
    folders = {
        open_store(tmp_path, encoder="a", resize=[4, "whole"]).folder,
        open_store(tmp_path, encoder="b", resize=[4, "whole"]).folder,
        open_store(tmp_path, encoder="a", resize=[4, "center"]).folder,
        FeatureStore(tmp_path, (4,), "float16", {"encoder": "a", "resize": [4, "whole"]}).folder,
        FeatureStore(tmp_path, SHAPE, "uint8", {"encoder": "a", "resize": [4, "whole"]}).folder,
    }
    assert len(folders) == 5
    assert open_store(tmp_path, resize=[4, "whole"], encoder="a").folder in folders  # order means nothing


@pytest.mark.parametrize("batch", [2, 16])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_picture_twice_has_one_row(tmp_path, batch, threads):
    items = [record(f"copy{number}", bitmap(number % 3)) for number in range(12)]
    found, rows, _ = fill(tmp_path, items, threads=threads, batch=batch)
    assert [each.row for each in found] == [0, 1, 2] * 4
    assert len(open_store(tmp_path)) == 3
    assert [int(row[2]) for row in rows] == [0, 1, 2] * 4


@pytest.mark.parametrize("threads", [1, 3])
def test_a_corrupt_picture_has_its_error_and_stops_nothing(tmp_path, threads):
    items = records(9)
    items[0] = record("empty", b"")
    items[5] = record("cut", bitmap(5)[:40])
    items[8] = Record("gone", FileThatIsGone(), (), "train")
    found, rows, squares = fill(tmp_path, items, threads=threads, batch=3)
    assert [each.record.image_id for each in found if each.error] == ["empty", "cut", "gone"]
    assert [each.row for each in found] == [None, 0, 1, 2, 3, None, 4, 5, None]
    assert [int(row[2]) for row in rows if row is not None] == [1, 2, 3, 4, 6, 7]
    assert squares == 6
    assert found[8].key == b""


class FileThatIsGone:
    name, version = "gone.jpg", "missing"

    def read_bytes(self) -> bytes:
        from captioner.errors import ImageError

        raise ImageError("gone.jpg: no such file", code="missing")


def test_several_threads_give_what_one_gives_bit_by_bit(tmp_path):
    items = [record(f"p{number}", bitmap(number * 37 % 50)) for number in range(90)]
    fill(tmp_path / "one", items, threads=1, batch=7)
    fill(tmp_path / "four", items, threads=4, batch=7)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


# ---- killed at any moment -------------------------------------------------------------------------------------------

PAUSED_WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
import test_features as tests
import captioner.features as features

folder, calls, share = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
append = features._append_durably

def append_or_die(path, data):
    global calls
    calls -= 1
    if calls == 0:
        append(path, data[: int(len(data) * share)])
        os.kill(os.getpid(), signal.SIGKILL)
    append(path, data)

features._append_durably = append_or_die
tests.fill(folder, tests.records(20), threads=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize(
    ("append", "share"),
    # Each batch of four appends rows, then keys: odd numbers die while rows are written, even ones in the keys.
    [(1, 0.0), (1, 0.4), (2, 0.0), (3, 1.0), (4, 0.3), (6, 1.0), (10, 0.9)],
)
def test_a_writer_killed_in_the_middle_of_a_write_costs_nothing_but_its_batch(tmp_path, append, share):
    fill(tmp_path / "whole", records(20))
    paths = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[2]))
    child = subprocess.run(
        [sys.executable, "-c", PAUSED_WRITER, str(tmp_path / "killed"), str(append), str(share)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    _, rows, squares = fill(tmp_path / "killed", records(20))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert [int(row[2]) for row in rows] == list(range(20))
    done_before = 20 - squares
    assert done_before >= (append - 1) // 2 * 4  # whole batches are kept


@pytest.mark.parametrize("name", ["rows.bin", "keys.bin"])
@pytest.mark.parametrize("complete", [0, 1, 5, 9])
@pytest.mark.parametrize("more", [0, 1, -1])
def test_files_cut_anywhere_are_filled_up_again(tmp_path, name, complete, more):
    fill(tmp_path, records(10))
    whole = contents(tmp_path)
    unit = ROW_BYTES if name == "rows.bin" else KEY_BYTES
    left = max(0, complete * unit + more)
    os.truncate(open_store(tmp_path).folder / name, left)
    _, rows, squares = fill(tmp_path, records(10))
    assert contents(tmp_path) == whole
    assert squares == 10 - left // unit
    assert [int(row[2]) for row in rows] == list(range(10))


def test_a_disk_that_fills_up_loses_no_row_and_shifts_none(tmp_path, monkeypatch):
    """The store is still right when it is used after the error, and when it is opened again."""
    import captioner.features as features

    store, append = open_store(tmp_path), features._append_durably
    store.append([bytes([1]) * KEY_BYTES], np.ones((1, 3)))

    def half_then_full(path, data):
        append(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for fails_at in ("rows.bin", "keys.bin"):
        monkeypatch.setattr(
            features,
            "_append_durably",
            lambda path, data, fails_at=fails_at: (half_then_full if path.name == fails_at else append)(path, data),
        )
        with pytest.raises(FeatureError, match="No space left"):
            store.append([bytes([7]) * KEY_BYTES, bytes([8]) * KEY_BYTES], np.full((2, 3), 5))
    monkeypatch.setattr(features, "_append_durably", append)
    store.append([bytes([2]) * KEY_BYTES], np.full((1, 3), 2))
    for opened in (store, open_store(tmp_path)):
        assert opened.row_of(bytes([7]) * KEY_BYTES) is None
        assert opened.row_of(bytes([2]) * KEY_BYTES) == 1
        assert opened.reader()(np.array([1])).tolist() == [[2, 2, 2]]


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65_520.0, -1e9])
def test_numbers_that_float16_cannot_hold_are_refused(tmp_path, value):
    store = open_store(tmp_path)
    rows = np.zeros((2, 3), np.float32)
    rows[1, 2] = value
    with pytest.raises(FeatureError, match="float16 cannot hold"):
        store.append([b"a" * KEY_BYTES, b"b" * KEY_BYTES], rows)
    assert len(store) == len(open_store(tmp_path)) == 0


def test_the_largest_float16_is_kept(tmp_path):
    store = open_store(tmp_path)
    store.append([b"a" * KEY_BYTES], np.array([[65_504.0, -65_504.0, 6e-8]]))
    assert store.reader()(np.array([0]))[0, :2].tolist() == [65_504, -65_504]


@pytest.mark.parametrize("shape", [(1, 4), (1, 3, 1), (2, 3)])
def test_rows_of_another_shape_or_number_are_refused(tmp_path, shape):
    with pytest.raises(FeatureError, match="shape"):
        open_store(tmp_path).append([b"a" * KEY_BYTES], np.zeros(shape))


def test_a_dtype_that_is_not_kept_is_refused(tmp_path):
    with pytest.raises(FeatureError, match="float16 or uint8, not float64"):
        FeatureStore(tmp_path, SHAPE, "float64", {})


def test_a_folder_below_a_file_is_a_feature_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FeatureError, match="cannot write features to"):
        open_store(tmp_path / "file" / "features")


def test_a_folder_that_cannot_be_written_is_a_feature_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        with contextlib.suppress(PermissionError):
            (folder / "probe").touch()
            pytest.skip("this user may write to read-only folders")
        with pytest.raises(FeatureError, match="cannot write features to"):
            open_store(folder)
    finally:
        folder.chmod(0o700)


# ---- reading by number ----------------------------------------------------------------------------------------------


def test_rows_are_read_by_number_in_any_order_and_as_often_as_asked(tmp_path):
    fill(tmp_path, records(10))
    read = open_store(tmp_path).reader()
    rows = np.array([7, 0, 7, 9, 3, 3])
    found = read(rows)
    assert found[:, 2].tolist() == rows.tolist()
    found[:] = 0  # a copy: the store is not touched
    assert read(rows)[:, 2].tolist() == rows.tolist()
    assert read(np.array([], np.int64)).shape == (0, 3)


def test_rows_keep_their_shape_and_dtype(tmp_path):
    store = FeatureStore(tmp_path, (2, 2, 3), "uint8", {})
    squares = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    store.append([b"a" * KEY_BYTES, b"b" * KEY_BYTES], squares)
    found = store.reader()(np.array([1, 0]))
    assert found.dtype == np.uint8
    assert np.array_equal(found, squares[::-1])


def test_a_reader_serves_several_threads(tmp_path):
    fill(tmp_path, records(50))
    read = open_store(tmp_path).reader()
    orders = [np.random.default_rng(seed).integers(0, 50, 20) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(orders, pool.map(read, orders), strict=True):
            assert found[:, 2].tolist() == order.tolist()


@pytest.mark.parametrize("loss", ["deleted", "cut"])
def test_rows_that_are_gone_are_a_feature_error(tmp_path, loss):
    fill(tmp_path, records(10))
    read = open_store(tmp_path).reader()
    read.path.unlink() if loss == "deleted" else os.truncate(read.path, 10)
    with pytest.raises(FeatureError, match="build again"):
        read(np.array([0]))
