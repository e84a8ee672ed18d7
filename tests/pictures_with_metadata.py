"""Small picture files in every format that holds captions, with and without other metadata; made by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image, ImageCms, ImageSequence, PngImagePlugin, TiffImagePlugin

CAPTION = 'A dog <runs> & "jumps" – \N{DOG FACE} über\nzwei Zeilen ]]>'
OTHER_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="An Editor 7">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    "  <rdf:Description rdf:about='' xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
    '    xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="4" xmp:Label="a&#xA;b">\n'
    "   <dc:title><rdf:Alt><rdf:li xml:lang='x-default'>A <![CDATA[title]]></rdf:li></rdf:Alt></dc:title>\n"
    '   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Old &amp; gray</rdf:li>'
    '<rdf:li xml:lang="de">Alt und grau</rdf:li></rdf:Alt></dc:description>\n'
    "   <!-- kept -->\n"
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n" + (" " * 99 + "\n") * 20 + '<?xpacket end="w"?>'
).encode()


def picture(mode: str = "RGB", shade: int = 0) -> Image.Image:
    """Stripes and a slope, so that compression has something to do."""
    image = Image.new("RGBA", (37, 23))
    image.putdata([((7 * x + shade) % 256, (11 * y) % 256, x * y % 256, 255 - x) for y in range(23) for x in range(37)])
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def files() -> dict[str, bytes]:
    """Name with suffix → content; names that begin with `other` have EXIF, a colour profile or comments."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A Camera", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "A title")
    texts.add_itxt("Comment", "über", zip=True)
    frames: dict[str, Any] = {"save_all": True, "append_images": [picture("RGB", 90)], "duration": 70}
    big = TiffImagePlugin.ImageFileDirectory_v2()
    big[0x010E] = "A description in EXIF"
    other: dict[str, Any] = {"exif": exif, "icc_profile": profile}
    return {
        "plain.jpg": encoded(picture(), "JPEG"),
        "gray.jpg": encoded(picture("L"), "JPEG", progressive=True),
        "cmyk.jpg": encoded(picture("CMYK"), "JPEG"),
        "bare.jpg": b"\xff\xd8" + encoded(picture(), "JPEG")[20:],
        "filled.jpg": encoded(picture(), "JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
        "other.jpg": encoded(picture(), "JPEG", comment=b"A comment", **other) + b"behind the picture",
        "several.jpg": encoded(picture(), "MPO", save_all=True, append_images=[picture("RGB", 90)], exif=exif),
        "plain.png": encoded(picture(), "PNG"),
        "palette.png": encoded(picture().quantize(16), "PNG", transparency=3),
        "moving.png": encoded(picture(), "PNG", **frames),
        "other.png": encoded(picture("RGBA"), "PNG", pnginfo=texts, **other) + b"behind the picture",
        "plain.webp": encoded(picture(), "WEBP"),
        "lossless.webp": encoded(picture(), "WEBP", lossless=True),
        "transparent.webp": encoded(picture("RGBA"), "WEBP", lossless=True),
        "alpha.webp": encoded(picture("RGBA"), "WEBP"),
        "moving.webp": encoded(picture(), "WEBP", **frames),
        "other.webp": encoded(picture(), "WEBP", **other),
        "plain.gif": encoded(picture("P"), "GIF"),
        "moving.gif": encoded(picture(), "GIF", loop=3, comment=b"A comment", **frames),
        "plain.tif": encoded(picture(), "TIFF"),
        "big.tif": encoded(picture("L").convert("I;16B"), "TIFF", tiffinfo=big),
        "packed.tif": encoded(picture(), "TIFF", compression="tiff_lzw") + b"\0",
        "other.tif": encoded(picture(), "TIFF", description="Something else", **other),
        "pages.tif": encoded(picture(), "TIFF", save_all=True, append_images=[picture("L", 90)]),
    }


def with_xmp(name: str, packet: bytes) -> bytes:
    """The file with a packet that it has had before, put there by Pillow or by hand."""
    data = files()[name]
    if name.endswith(".jpg"):
        body = b"http://ns.adobe.com/xap/1.0/\0" + packet
        place = data.index(b"\xff\xdb")  # behind all of what is there, the index of several pictures too
        segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        new = bytearray(data[:place] + segment + data[place:])
        if name == "several.jpg":  # its index says how long the first picture is, and where the second one begins
            header = new.index(b"MPF\0") + 4
            entries = header + struct.unpack_from("<I", new, new.index(struct.pack("<HHI", 0xB002, 7, 32)) + 8)[0]
            for number in (entries + 4, entries + 24):
                struct.pack_into("<I", new, number, struct.unpack_from("<I", new, number)[0] + len(segment))
        return bytes(new)
    if name.endswith(".png"):
        body = b"iTXtXML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)
        place = data.index(b"IEND") - 4  # compressed, and behind the pixels: both are allowed
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:place] + chunk + data[place:]
    if name.endswith(".webp"):
        with Image.open(io.BytesIO(data)) as image:
            frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
        return encoded(frames[0], "WEBP", lossless=True, xmp=packet, save_all=True, append_images=frames[1:])
    if name.endswith(".gif"):
        trailer = bytes([1, *range(255, -1, -1), 0])
        return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + data[-1:]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700] = packet
    tags.tagtype[700] = 1
    with Image.open(io.BytesIO(data)) as image:
        return encoded(image, "TIFF", tiffinfo=tags)


def pixels(data: bytes) -> list[tuple[str, tuple[int, int], bytes]]:
    """Every frame, decoded: mode, size and pixels; the original ones, not turned as EXIF says."""
    with Image.open(io.BytesIO(data)) as image:
        return [(frame.mode, frame.size, frame.tobytes()) for frame in ImageSequence.Iterator(image)]
