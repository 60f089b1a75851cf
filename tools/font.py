#!/usr/bin/env python3
"""Print the printable ASCII characters of a PSF console font (8x16) as C initialisers.

usage: font.py FONT.psf[.gz]

The font comes from a package of the build machine. Without it the initialiser is empty, and the microkernel is built
without text on the framebuffer.
"""
import gzip
import struct
import sys

FIRST, LAST, HEIGHT = 0x20, 0x7E, 16


def psf2(data):
    version, header, flags, count, size, height, width = struct.unpack_from("<7I", data, 4)
    if version != 0 or height != HEIGHT or width != 8:
        raise ValueError("not an 8x16 font")
    glyphs = [data[header + i * size : header + (i + 1) * size] for i in range(count)]
    unicode = {}
    if flags & 1:
        rest = data[header + count * size :]
        for glyph, entry in enumerate(rest.split(b"\xff")[:count]):
            for character in entry.split(b"\xfe")[0].decode("utf-8", "replace"):
                unicode.setdefault(ord(character), glyph)
    return glyphs, unicode


def psf1(data):
    mode, size = data[2], data[3]
    if size != HEIGHT:
        raise ValueError("not an 8x16 font")
    count = 512 if mode & 1 else 256
    glyphs = [data[4 + i * size : 4 + (i + 1) * size] for i in range(count)]
    unicode = {}
    if mode & 6:
        values = struct.iter_unpack("<H", data[4 + count * size :][: (len(data) - 4 - count * size) & ~1])
        glyph, in_sequence = 0, False
        for (value,) in values:
            if value == 0xFFFF:
                glyph, in_sequence = glyph + 1, False
            elif value == 0xFFFE:
                in_sequence = True
            elif not in_sequence:
                unicode.setdefault(value, glyph)
    return glyphs, unicode


def main():
    try:
        with open(sys.argv[1], "rb") as f:
            data = f.read()
    except OSError as error:
        sys.stderr.write(f"font.py: {error}: the framebuffer will have no text (Debian package psf-unifont)\n")
        return
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] == b"\x72\xb5\x4a\x86":
        glyphs, unicode = psf2(data)
    elif data[:2] == b"\x36\x04":
        glyphs, unicode = psf1(data)
    else:
        raise ValueError("not a PSF font")
    for character in range(FIRST, LAST + 1):
        glyph = glyphs[unicode.get(character, character)]
        print("{" + ", ".join(f"0x{row:02x}" for row in glyph[:HEIGHT]) + "},")


if __name__ == "__main__":
    main()
