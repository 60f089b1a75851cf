"""Capture files (pcapng, draft-ietf-opsawg-pcapng), read as the format has them: what is not so is a failure."""
import struct
from collections import namedtuple

SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
Packet = namedtuple("Packet", "section interface time data length flags lost comment")
Interface = namedtuple("Interface", "name about mac snap statistics")
# Counts of an interface: None where the file has none.
Statistics = namedtuple("Statistics", "seen lost matched")
INBOUND, OUTBOUND = 1, 2
NO_SUM, UNCUT = 1 << 9, 1 << 11


class Bad(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Bad(text)


def options(data, order):
    """{code: [bytes, ...]}, to the end of data."""
    out, at = {}, 0
    while at < len(data):
        need(len(data) - at >= 4, "an option's header is cut off")
        code, length = struct.unpack_from(order + "HH", data, at)
        at += 4
        if code == 0:
            need(length == 0 and at == len(data), "something stands behind the last option")
            return out
        whole = (length + 3) // 4 * 4
        need(at + whole <= len(data), f"option {code} is cut off")
        need(not any(data[at + length:at + whole]), f"option {code} is padded with something else than zeroes")
        out.setdefault(code, []).append(data[at:at + length])
        at += whole
    need(not out, "options without an end")
    return out


def one(found, code, size):
    """An option's only value, of that size; None where there is none."""
    values = found.get(code, [])
    need(len(values) <= 1 and all(len(v) == size for v in values), f"option {code}: {values}")
    return values[0] if values else None


class File:
    """sections: a list of lists of Interface; packets: a list of Packet."""

    def __init__(self, data):
        self.sections, self.packets, self.comments = [], [], []
        self.order, at = "<", 0
        need(data[:4] == SECTION.to_bytes(4, "little"), "it does not begin with a section")
        while at < len(data):
            need(len(data) - at >= 12, "a block is cut off")
            if data[at:at + 4] == SECTION.to_bytes(4, "little"):
                magic = data[at + 8:at + 12]
                need(magic in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"), f"byte order {magic.hex()}")
                self.order = "<" if magic[0] == 0x4d else ">"
            kind, length = struct.unpack_from(self.order + "II", data, at)
            need(length >= 12 and length % 4 == 0 and at + length <= len(data), f"a block of {length} bytes at {at} of {len(data)}")
            need(data[at + length - 4:at + length] == data[at + 4:at + 8], f"the block at {at} ends with another length")
            self.take(kind, data[at + 8:at + length - 4])
            at += length

    def unpack(self, form, data):
        size = struct.calcsize(self.order + form)
        need(len(data) >= size, "a block's fixed part is cut off")
        return struct.unpack_from(self.order + form, data), data[size:]

    def take(self, kind, body):
        if kind == SECTION:
            (_, major, minor, length), rest = self.unpack("IHHq", body)
            need((major, minor) == (1, 0) and length == -1, f"version {major}.{minor}, length {length}")
            self.comments += [b"".join(options(rest, self.order).get(1, [])).decode()]
            self.sections.append([])
        elif kind == INTERFACE:
            (link, zero, snap), rest = self.unpack("HHI", body)
            found = options(rest, self.order)
            need((link, zero) == (1, 0), f"link type {link}")
            need(one(found, 9, 1) == b"\x09", "times are not in nanoseconds")
            self.sections[-1].append(Interface(found[2][0].decode(), found[3][0].decode(), one(found, 6, 6), snap, []))
        elif kind == PACKET:
            self.take_packet(body)
        elif kind == STATISTICS:
            (number, *_), rest = self.unpack("III", body)
            found = options(rest, self.order)
            values = [int.from_bytes(one(found, code, 8), "little" if self.order == "<" else "big") for code in (4, 5, 6)]
            self.sections[-1][number].statistics.append(Statistics(*values))
        else:
            raise Bad(f"a block of type {kind}")

    def take_packet(self, body):
        (number, high, low, kept, length), rest = self.unpack("IIIII", body)
        need(number < len(self.sections[-1]), f"a packet at interface {number} of {len(self.sections[-1])}")
        need(kept <= min(length, self.sections[-1][number].snap), f"{kept} of {length} bytes")
        whole = (kept + 3) // 4 * 4
        need(whole <= len(rest) and not any(rest[kept:whole]), "a packet's data and padding")
        found = options(rest[whole:], self.order)
        flags, = struct.unpack(self.order + "I", one(found, 2, 4))
        lost = one(found, 4, 8)
        self.packets.append(Packet(len(self.sections) - 1, number, high << 32 | low, rest[:kept], length, flags,
                                   struct.unpack(self.order + "Q", lost)[0] if lost else 0,
                                   b"".join(found.get(1, [])).decode()))


def read(path):
    with open(path, "rb") as f:
        return File(f.read())
