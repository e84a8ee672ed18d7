"""captioner.metadata as exiftool sees it: captions are where others look for them, and all else is as it was."""

import json
import re
import shutil
import subprocess

import pytest
from pictures_with_metadata import CAPTION, files

from captioner.metadata.splice import apply
from captioner.metadata.write import Which, sidecar, splices

EXIFTOOL = shutil.which("exiftool")
pytestmark = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed (Debian: libimage-exiftool-perl)")
ALL = Which(description=True, alt=True, iptc=True)
CAPTIONS = ("XMP-dc:Description", "XMP-iptcCore:AltTextAccessibility", "IPTC:Caption-Abstract")
EDITED = [name for name in sorted(files()) if name != "filled.jpg"]
"""Files into which exiftool writes first; to it, fill bytes are an error."""
WRITTEN = {
    "XMP-dc:Title": "A title",
    "XMP-dc:Subject": "one",
    "XMP-dc:Description": "Old\N{DOG FACE}",
    "XMP-dc:Description-de": "Alt",
    "XMP-xmp:Rating": "4",
    "XMP-photoshop:City": "Köln",
    "XMP-iptcExt:LocationCreatedCity": "Köln",
    "IPTC:Keywords": "Über",
    "IPTC:City": "Köln",
    "IPTC:Caption-Abstract": "Old\N{DOG FACE}",
    "EXIF:Artist": "Somebody",
    "Comment": "A comment",
}
CHANGING = ("System:", "File:", "SourceFile", "ExifTool:", "Photoshop:IPTCDigest", "MPF0", "MPImage", *CAPTIONS)
"""What is compared on its own, or changes with every file, such as its name and size."""
FORMAL = {
    "IPTC:EnvelopeRecordVersion",
    "IPTC:CodedCharacterSet",
    "IPTC:ApplicationRecordVersion",
    "RIFF:WebP_Flags",
    "GIF:GIFVersion",
}
"""What a format wants beside a caption."""


def exiftool(*arguments):
    command = [EXIFTOOL, "-charset", "iptc=UTF8", "-charset", "filename=UTF8", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False).stdout


def dump(folder):
    """File name → what exiftool says of it: name of a tag → all its values."""
    told = ("-all", "-CurrentIPTCDigest", "-validate", "-warning", "-error")
    records = {}
    for record in json.loads(exiftool("-j", "-G1:4", "-a", "-struct", *told, folder)):
        tags = records[record["SourceFile"].rsplit("/", 1)[1]] = {}
        for name, value in record.items():
            tags.setdefault(re.sub(r":Copy\d+", "", name), []).append(value)
    return records


def kept(record):
    """What must not change; the size of a picture may be said once more."""
    same = {name: values for name, values in record.items() if name not in FORMAL and not name.startswith(CHANGING)}
    return {name: values[:1] if name.startswith("RIFF:Image") else values for name, values in same.items()}


def first(record, *names):
    return [record.get(name, [None])[0] for name in names]


def complaints(record):
    found = [text for name in ("ExifTool:Warning", "ExifTool:Error") for text in record.get(name, [])]
    return {re.sub(r"after JPEG APP\d+ segment", "", text) for text in found}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Files before and after a caption was put into them."""
    folder = tmp_path_factory.mktemp("plain")
    for name, data in files().items():
        (folder / f"old_{name}").write_bytes(data)
        (folder / name).write_bytes(apply(data, splices(data, CAPTION, ALL, "overwrite")))
    return dump(folder)


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """Files into which exiftool wrote metadata, and after their captions were changed."""
    folder = tmp_path_factory.mktemp("edited")
    for name in EDITED:
        (folder / f"old_{name}").write_bytes(files()[name])
    tags = [f"-{name}={value}" for name, value in WRITTEN.items()]
    exiftool("-q", "-m", "-overwrite_original", "-codedcharacterset=utf8", "-IPTCDigest=new", *tags, folder)
    for name in EDITED:
        data = (folder / f"old_{name}").read_bytes()
        (folder / name).write_bytes(apply(data, splices(data, CAPTION, ALL, "append")))
    return dump(folder)


@pytest.mark.parametrize("name", sorted(files()))
def test_captions_are_where_exiftool_looks_for_them(plain, name):
    old, new = plain[f"old_{name}"], plain[name]
    holds_iptc = name.endswith((".jpg", ".tif"))
    assert first(new, *CAPTIONS) == [CAPTION, CAPTION, CAPTION if holds_iptc else None]
    assert kept(new) == kept(old)
    assert complaints(new) <= complaints(old)


@pytest.mark.parametrize("name", EDITED)
def test_what_exiftool_wrote_stays(edited, name):
    old, new = edited[f"old_{name}"], edited[name]
    text = f"Old\N{DOG FACE}\n{CAPTION}"
    assert first(new, *CAPTIONS[:2]) == [text, CAPTION]
    assert first(old, "XMP-dc:Title", "XMP-photoshop:City") == ["A title", "Köln"]
    assert first(new, "XMP-dc:Description-de") == ["Alt"]
    assert kept(new) == kept(old)
    assert complaints(new) <= complaints(old)
    if name.endswith((".jpg", ".tif")):
        assert first(new, "IPTC:Caption-Abstract", "IPTC:City") == [text, "Köln"]
        assert new["Photoshop:IPTCDigest"] == new["File:CurrentIPTCDigest"] != old["Photoshop:IPTCDigest"]


def test_several_pictures_in_one_file_are_found(plain):
    old, new = plain["old_several.jpg"], plain["several.jpg"]
    assert new["MPImage1:MPImageLength"] == new["MPImage2:MPImageStart"] != old["MPImage2:MPImageStart"]
    assert new["MPImage2:MPImageLength"] == old["MPImage2:MPImageLength"]
    assert new["MPImage2:MPImage2"] == old["MPImage2:MPImage2"]


def test_a_sidecar_is_read(tmp_path):
    (tmp_path / "a.xmp").write_bytes(sidecar(None, CAPTION, Which(alt=True), "overwrite"))
    record = dump(tmp_path)["a.xmp"]
    assert first(record, *CAPTIONS) == [CAPTION, CAPTION, None]
    assert complaints(record) == set()
