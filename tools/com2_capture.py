"""What Corbel's `capture` sends (docs/COM2.md, "Captures"): blocks of pcapng, made one file again whatever the line has lost.

A block begins with a frame of the line's, and all of its frames but the last are full. So behind a gap the next block begins
behind the next frame that is not full, whatever the packets in between look like.
"""
import struct

SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
HEADER = struct.Struct("<II")  # type, length of the whole
SMALLEST = {SECTION: 28, INTERFACE: 20, STATISTICS: 24, PACKET: 32}
BLOCK_MAX = 1 << 15
FULL = 256  # bytes of a frame that is not a block's last one
FIXED = 20  # bytes of statistics in front of their options
DROPPED = 5  # the option that says how many there was no room for
INTERFACES_MAX = 64


def dropped(block):
    """How many packets an interface's statistics tell as dropped in Corbel."""
    at = FIXED
    while at + 4 <= len(block) - 4:
        code, length = struct.unpack_from("<HH", block, at)
        if code == DROPPED and length == 8 and at + 12 <= len(block) - 4:
            return struct.unpack_from("<Q", block, at + 4)[0]
        if code == 0:
            break
        at += 4 + (length + 3) // 4 * 4
    return 0


class Capture:
    """Payloads of the channel's frames in, by feed(); what belongs into the file out.

    Corbel begins a new section now and then, for who comes late or has lost something: where it is the one that the file has,
    the file goes on. Until then nobody knows what numbers of interfaces mean. Statistics come behind a section's packets,
    once, as viewers expect it.
    """

    def __init__(self):
        self.buffer, self.expected, self.in_step = bytearray(), None, True
        self.section = None  # that the file has
        self.lost = True  # whether what comes belongs to that is not known
        self.interfaces = []  # blocks of these that it has
        self.place = 0  # of the next interface that comes
        self.statistics = {}  # the last ones, by interface
        self.packets = 0
        self.left_out = 0  # packets that came while nobody knew where they belong
        self.before = 0  # packets dropped in Corbel, of sections that have ended
        self.began = None  # of this start of Corbel

    def control(self, began):
        """What a status says of the start of Corbel: behind another one frames are numbered from 0."""
        if began != self.began:
            self.began, self.expected = began, None
            self._lose()
            self.in_step = True

    def feed(self, sequence, payload):
        """What goes into the file with one more frame."""
        if sequence != (0 if self.expected is None else self.expected):
            self._lose()
        self.expected = (sequence + 1) & 0xffff
        if not self.in_step:
            self.in_step = len(payload) < FULL
            return b""
        self.buffer += payload
        if len(self.buffer) < HEADER.size:
            return self._wrong(payload)
        kind, length = HEADER.unpack_from(self.buffer)
        if length % 4 or not SMALLEST.get(kind, BLOCK_MAX) <= length < BLOCK_MAX or len(self.buffer) > length:
            return self._wrong(payload)
        if len(self.buffer) < length:
            return b"" if len(payload) == FULL else self._wrong(payload)
        block = bytes(self.buffer)
        self.buffer.clear()
        return self._take(kind, block) if block[-4:] == block[4:8] else self._wrong(payload)

    def _lose(self):
        self.buffer.clear()
        self.in_step, self.lost = False, True

    def _wrong(self, payload):
        self._lose()
        self.in_step = len(payload) < FULL
        return b""

    def _take(self, kind, block):
        if kind == SECTION:
            return self._take_section(block)
        if self.lost:
            self.left_out += kind == PACKET
            return b""
        if kind == INTERFACE:
            if self.place == INTERFACES_MAX:
                return b""
            self.place += 1
            if self.place <= len(self.interfaces):
                return b""
            self.interfaces.append(block)
            return block
        number, = struct.unpack_from("<I", block, HEADER.size)
        if number >= self.place:
            return b""
        if kind == STATISTICS:
            self.statistics[number] = block
            return b""
        self.packets += 1
        return block

    def _take_section(self, block):
        self.place, self.lost = 0, False
        if block == self.section:
            return b""
        out = self.end()
        self.before += sum(map(dropped, self.statistics.values()))
        self.section, self.interfaces, self.statistics = block, [], {}
        return out + block

    def end(self):
        """What ends the section that the file has."""
        return b"".join(block for _, block in sorted(self.statistics.items()))

    def losses(self):
        """In sentences."""
        out = []
        for count, text in ((self.before + sum(map(dropped, self.statistics.values())),
                             "captured packet{s} dropped in Corbel: the line is slower than what passes"),
                            (self.left_out, "captured packet{s} left out behind what was lost on the line")):
            if count:
                out.append(f"{count} " + text.format(s="" if count == 1 else "s"))
        return out

    def summary(self):
        return f"{self.packets} packet{'' if self.packets == 1 else 's'}"
