"""Pictures that Corbel's `screenshot` sends (docs/COM2.md, "Screens"): put together, and written as PNG."""
import os
import re
import struct
import zlib

MAGIC = b"\xd5\xc3"
HEADER = struct.Struct("<2sBBHH")  # magic, kind, number of the picture, row, length of the body
BEGIN, ROW, END = 1, 2, 3
DIFFERENT, ALIKE, AS_ABOVE = range(3)
POINT = 3
WIDTH_MAX, HEIGHT_MAX = 2560, 2048
BODY_MAX = 4 * WIDTH_MAX


def unpack_row(body, above):
    """The row's points; ValueError where they are not so many as above."""
    out, at = bytearray(), 0
    while at < len(body):
        if len(body) - at < 2:
            raise ValueError
        word, = struct.unpack_from("<H", body, at)
        kind, count, at = word >> 14, (word & 0x3fff) + 1, at + 2
        if kind == AS_ABOVE:
            piece = above[len(out):len(out) + POINT * count]
        else:
            size = POINT * count if kind == DIFFERENT else POINT
            piece, at = body[at:at + size], at + size
            if kind == ALIKE and len(piece) == POINT:
                piece = piece * count
        if len(piece) != POINT * count or kind > AS_ABOVE or len(out) + len(piece) > len(above):
            raise ValueError
        out += piece
    if len(out) != len(above):
        raise ValueError
    return bytes(out)


def png(width, height, rows):
    """Red, green and blue, eight bits each."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 9)) + chunk(b"IEND", b""))


class Picture:
    def __init__(self, number, width, height, name):
        self.number, self.width, self.height, self.name = number, width, height, name
        self.rows, self.crc = [], 0

    def add(self, y, body):
        if y != len(self.rows) or y >= self.height:
            raise ValueError
        row = unpack_row(body, self.rows[-1] if self.rows else bytes(POINT * self.width))
        self.rows.append(row)
        self.crc = zlib.crc32(row, self.crc)


class Screens:
    """Bytes of the channel in, by feed(); whole pictures out."""

    def __init__(self):
        self.buffer, self.picture = bytearray(), None
        self.broken = 0  # pictures of which something was lost

    def feed(self, data):
        self.buffer += data
        out = []
        while (found := self.buffer.find(MAGIC)) >= 0:
            del self.buffer[:found]
            if len(self.buffer) < HEADER.size:
                return out
            _, kind, number, y, length = HEADER.unpack_from(self.buffer)
            if not BEGIN <= kind <= END or length > BODY_MAX:
                del self.buffer[:1]
                continue
            if len(self.buffer) < HEADER.size + length:
                return out
            body = bytes(self.buffer[HEADER.size:HEADER.size + length])
            if self._take(kind, number, y, body, out):
                del self.buffer[:HEADER.size + length]
            else:
                del self.buffer[:1]
        del self.buffer[:max(0, len(self.buffer) - 1)]
        return out

    def _take(self, kind, number, y, body, out):
        """Whether that was a record which makes sense where it is."""
        if kind == BEGIN:
            if len(body) < 4:
                return False
            width, height = struct.unpack_from("<HH", body)
            if not (0 < width <= WIDTH_MAX and 0 < height <= HEIGHT_MAX):
                return False
            self.give_up()
            name = re.sub(r"[^A-Za-z0-9_-]", "_", body[4:].decode("ascii", errors="replace")) or "screen"
            self.picture = Picture(number, width, height, name)
            return True
        p = self.picture
        if not p or p.number != number:
            return False
        try:
            if kind == ROW:
                p.add(y, body)
                return True
        except ValueError:
            self.give_up()
            return False
        if len(p.rows) == p.height and body == p.crc.to_bytes(4, "little"):
            out.append(p)
            self.picture = None
        else:
            self.give_up()
        return True

    def give_up(self):
        """What has come of a picture will not become a whole one."""
        self.broken += self.picture is not None
        self.picture = None


def keep(folder, picture):
    """Write it under a name that nothing has; returns the path."""
    os.makedirs(folder, exist_ok=True)
    data = png(picture.width, picture.height, picture.rows)
    for n in range(1, 100000):
        path = os.path.join(folder, f"{picture.name}-{n}.png")
        try:
            with open(path, "xb") as f:
                f.write(data)
            return path
        except FileExistsError:
            pass
    raise OSError(f"{folder} is full of pictures of {picture.name}")
