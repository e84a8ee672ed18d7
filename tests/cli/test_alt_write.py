"""`captioner alt --write` where things go wrong: protected files, pages that change meanwhile, kills at any time."""

import os
import random
import signal
import time

import pytest
from alt_site import ALT, FOUND, alt, contents, draw, make_site, write
from conftest import start


@pytest.fixture
def site(tmp_path):
    return make_site(tmp_path)


@pytest.fixture
def many(tmp_path):
    """A site with 60 pages, each with a picture of its own."""
    for number in range(60):
        draw(tmp_path / "site" / f"{number:02}.png", number)
        write(tmp_path / "site", **{f"{number:02}": f"<img src={number:02}.png>\n" + "filling\n" * 5_000})
    return tmp_path / "site"


def test_protected_files_and_folders(site):
    write(site, index=FOUND, other=FOUND)
    (site / "index.html").chmod(0o444)
    ended = alt(site, "site", "--write")
    assert ended.returncode == 1
    assert "site/index.html: is write-protected; nothing was written" in ended.stderr
    assert "1 written, 0 skipped, 1 failed" in ended.stderr
    assert (site / "index.html").read_text() == FOUND
    assert "b/site/index.html" not in ended.stdout  # what is shown was written
    if os.geteuid() != 0:
        (site / "index.html").chmod(0o644)
        site.chmod(0o555)
        assert "cannot be written" in alt(site, "site", "--write").stderr
        site.chmod(0o755)
    assert not list(site.glob(".*"))


def test_mode_and_owner_stay_and_a_link_stays_a_link(site, tmp_path):
    write(site, index=FOUND)
    page = site / "index.html"
    page.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(page, 12345, 54321)
    os.utime(page, (10**9, 10**9))
    (tmp_path / "link.html").symlink_to("site/index.html")
    before = page.stat()
    assert alt(site, "link.html", "--root=site", "--write").returncode == 0
    after = page.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_mtime > before.st_mtime  # for what builds the site anew when a page changes
    assert (tmp_path / "link.html").is_symlink()
    assert " alt=" in page.read_text()


def test_a_page_that_somebody_saves_meanwhile_is_theirs(many):
    process = start(*ALT, "site", "--write", "--threads=1", cwd=many.parent)
    deadline = time.monotonic() + 60
    while " alt=" not in (many / "00.html").read_text()[:100] and time.monotonic() < deadline:
        time.sleep(0.001)
    (many / "59.html").write_text("<img src=59.png> changed\n")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "site/59.html: has changed in the meantime; nothing was written, run it again" in errors
    assert "59 written, 0 skipped, 1 failed" in errors
    assert (many / "59.html").read_text() == "<img src=59.png> changed\n"
    again = alt(many, "site", "--write")
    assert again.returncode == 0
    assert "59 with a text, 0 decorative, 1 written" in again.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_time_every_page_is_whole(many, how):
    before = contents(many)
    chance = random.Random(int(how))
    stopped = 0
    for _ in range(6):
        begun = sum(" alt=" in path.read_text()[:100] for path in many.glob("[0-9]*.html"))
        process = start(*ALT, "site", "--write", "--threads=1", cwd=many.parent)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:  # until it has begun to write
            if begun == 60 or " alt=" in (many / f"{begun:02}.html").read_text()[:100]:
                break
            time.sleep(0.001)
        time.sleep(chance.random() * 0.02)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        stopped += process.returncode in (130, -signal.SIGKILL)
        assert "Traceback" not in errors
        for name, data in contents(many).items():
            if name.startswith("."):
                assert how == signal.SIGKILL  # what was being written then; nobody takes it for a page
            elif data != before[name]:
                assert data.startswith(f"<img src={name[:2]}.png alt=".encode())
                assert data.partition(b"\n")[2] == before[name].partition(b"\n")[2]
    assert stopped >= 2
    assert alt(many, "site", "--write").returncode == 0
    assert all(b" alt=" in data[:100] for name, data in contents(many).items() if name.endswith("html"))
