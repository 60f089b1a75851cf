"""The kernel proper out of a Linux bzImage: an ELF file, as the kernel's own decompressor would unpack it.

Linux, "The Linux/x86 Boot Protocol": payload_offset and payload_length say where the compressed ELF file lies; its
first bytes say how it is compressed.
"""
import bz2
import lzma
import struct
import subprocess
import zlib

SETUP_SECTS, MAGIC, VERSION, PAYLOAD_OFFSET, PAYLOAD_LENGTH = 0x1F1, 0x202, 0x206, 0x248, 0x24C
LARGEST = 1 << 30


class ImageError(Exception):
    """Why this is no kernel that can be unpacked."""


def python_module(decompressor, *arguments):
    return lambda data: decompressor(*arguments).decompress(data, LARGEST)


def program(name):
    """Of Debian's package of the same name. It wants nothing behind its bytes, where the kernel's size stands."""
    def run(data):
        try:
            p = subprocess.run([name, "-dcq"], input=data[:-4], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               check=False)
        except FileNotFoundError:
            raise ImageError(f"it is compressed by {name}, which is not here: apt-get install {name}") from None
        if p.returncode and not p.stdout:
            raise ImageError(f"{name}: {p.stderr.decode(errors='replace').strip()}")
        return p.stdout
    return run


UNPACKERS = (
    (b"\x7fELF", lambda data: data),
    (b"\x1f\x8b", python_module(zlib.decompressobj, zlib.MAX_WBITS | 16)),
    (b"\xfd7zXZ\0", python_module(lzma.LZMADecompressor, lzma.FORMAT_XZ)),
    (b"\x5d\0\0", python_module(lzma.LZMADecompressor, lzma.FORMAT_ALONE)),
    (b"BZh", python_module(bz2.BZ2Decompressor)),
    (b"\x02\x21\x4c\x18", program("lz4")),
    (b"\x28\xb5\x2f\xfd", program("zstd")),
)


def payload(image):
    """The compressed kernel in a bzImage."""
    if len(image) < 0x264 or image[MAGIC:MAGIC + 4] != b"HdrS":
        raise ImageError("it is no Linux bzImage")
    version, = struct.unpack_from("<H", image, VERSION)
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    start = ((image[SETUP_SECTS] or 4) + 1) * 512 + offset
    if version < 0x208 or not length or start + length > len(image):
        raise ImageError("it does not say where its payload is, or is cut off")
    return image[start:start + length]


def unpack(image):
    """The ELF file in a bzImage's bytes; an ELF file is returned as it is."""
    if image.startswith(b"\x7fELF"):
        return image
    packed = payload(image)
    for magic, unpacker in UNPACKERS:
        if packed.startswith(magic):
            try:
                kernel = unpacker(packed)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as e:
                raise ImageError(f"its payload is damaged: {e}") from None
            if not kernel.startswith(b"\x7fELF"):
                raise ImageError("its payload holds no ELF file")
            return kernel
    raise ImageError(f"its payload begins with {packed[:6].hex()}, which is no compression that is known here")
