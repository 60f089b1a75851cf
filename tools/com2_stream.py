"""Frames on Corbel's second serial port (docs/COM2.md): found among whatever else a line carries, taken apart, and made.
"""
import struct
import zlib
from collections import namedtuple

SYNC = b"\xa5\xc2"
HEADER = struct.Struct("<2sBHHB")  # sync, channel, sequence, length of the payload, check
CRC_SIZE = 4
PAYLOAD_MAX = 256
CONTROL, GDB, TRACE, SCREEN, CAPTURE = range(5)
NAMES = ("control", "gdb", "trace", "screen", "capture")
STATUS = HELLO = 1  # first byte of a control channel's payload, from Corbel and to it
VERSION = 1
STATUS_HEAD = struct.Struct("<BBQIII")
STATUS_CHANNEL = struct.Struct("<7I")

Frame = namedtuple("Frame", "channel sequence payload")
# Of one channel, as Corbel counts: what it sent and had no room for; what it heard, what of that nobody took.
Told = namedtuple("Told", "used sent lost_frames lost_bytes heard missing unread_frames unread_bytes")


def pack(channel, sequence, payload):
    """One frame."""
    frame = SYNC + struct.pack("<BHH", channel, sequence & 0xffff, len(payload))
    frame += bytes([zlib.crc32(frame) & 0xff]) + payload
    return frame + zlib.crc32(frame).to_bytes(CRC_SIZE, "little")


def status_began(frame):
    """The number that this start of Corbel has, where the frame is a status; else None."""
    if frame.channel != CONTROL or frame.payload[:1] != bytes([STATUS]) or len(frame.payload) < STATUS_HEAD.size:
        return None
    return STATUS_HEAD.unpack_from(frame.payload)[2]


class Sender:
    """Bytes for channels become frames, which are numbered from 0."""

    def __init__(self):
        self.sequence = {}

    def frames(self, channel, data):
        out = b""
        for at in range(0, len(data), PAYLOAD_MAX):
            number = self.sequence.get(channel, 0)
            self.sequence[channel] = number + 1
            out += pack(channel, number, data[at:at + PAYLOAD_MAX])
        return out

    def hello(self):
        """Count anew, and tell Corbel so; it answers with a status."""
        self.sequence.clear()
        return self.frames(CONTROL, bytes([HELLO]))


class Channel:
    """What is known of one."""

    def __init__(self, number):
        self.name = NAMES[number] if number < len(NAMES) else f"channel {number}"
        self.frames = self.bytes = 0
        self.missing = 0  # frames, by their numbers
        self.expected = None
        self.told = None

    def count(self, frame):
        if self.expected is not None:
            self.missing += (frame.sequence - self.expected) & 0xffff
        self.expected = (frame.sequence + 1) & 0xffff
        self.frames += 1
        self.bytes += len(frame.payload)


class Stream:
    """Bytes in, by feed(), in pieces of any size; frames out, and what is known about the line."""

    def __init__(self):
        self.buffer = bytearray()
        self.channels = {}  # by number
        self.skipped = 0  # bytes that belong to no frame
        self.damaged = 0  # frames whose header was right, and whose CRC was not
        self.strange = 0  # statuses that make no sense
        self.began = None  # of this start of Corbel
        self.starts = 0  # that were seen
        self.heard = None  # what Corbel heard that was no frame: bytes, damaged frames, frames for no channel

    def channel(self, number):
        return self.channels.setdefault(number, Channel(number))

    def frames(self):
        return sum(c.frames for c in self.channels.values())

    def feed(self, data):
        """Add bytes; returns the frames that are complete with them."""
        self.buffer += data
        out, at = [], 0
        while True:
            found = self.buffer.find(SYNC, at)
            if found < 0:  # the last byte may begin a frame
                found = len(self.buffer) - self.buffer.endswith(SYNC[:1])
                found = max(found, at)
                self.skipped += found - at
                at = found
                break
            self.skipped += found - at
            at = found
            if len(self.buffer) - at < HEADER.size:
                break
            _, channel, sequence, length, check = HEADER.unpack_from(self.buffer, at)
            if zlib.crc32(self.buffer[at:at + HEADER.size - 1]) & 0xff == check and length <= PAYLOAD_MAX:
                end = at + HEADER.size + length + CRC_SIZE
                if len(self.buffer) < end:
                    break
                body = self.buffer[at:end - CRC_SIZE]
                if zlib.crc32(body) == int.from_bytes(self.buffer[end - CRC_SIZE:end], "little"):
                    out.append(self._frame(Frame(channel, sequence, bytes(body[HEADER.size:]))))
                    at = end
                    continue
                self.damaged += 1
            at += 1
            self.skipped += 1
        del self.buffer[:at]
        return out

    def give_up(self):
        """What began like a frame is none, as nothing has come for long. Returns the frames behind its beginning."""
        out = []
        while self.buffer:
            self.skipped += 1
            del self.buffer[0]
            out += self.feed(b"")
        return out

    def _frame(self, frame):
        if frame.channel == CONTROL and frame.payload[:1] == bytes([STATUS]):
            try:
                self._status(frame.payload)
            except (struct.error, IndexError):
                self.strange += 1
        self.channel(frame.channel).count(frame)
        return frame

    def _status(self, payload):
        _, version, began, *heard = STATUS_HEAD.unpack_from(payload)
        if version != VERSION:
            raise ValueError(f"the frames are of version {version}; this tool reads version {VERSION}")
        if began != self.began:  # it counts from 0 again
            self.began = began
            self.starts += 1
            for c in self.channels.values():
                c.expected = None
        self.heard = heard
        at = STATUS_HEAD.size
        while at < len(payload):
            number, used, length = payload[at], payload[at + 1], payload[at + 2]
            at += 3 + length
            told = STATUS_CHANNEL.unpack_from(payload, at)
            channel = self.channel(number)
            channel.name = payload[at - length:at].decode("ascii", errors="replace")
            channel.told = Told(bool(used & 1), *told)
            at += STATUS_CHANNEL.size

    def losses(self):
        """What was lost where, in sentences."""
        out = []
        for number in sorted(self.channels):
            c = self.channels[number]
            told = c.told or Told(False, *7 * [0])
            for count, text in ((c.missing, "frame{s} of {c} lost on the line"),
                                (told.lost_frames, "frame{s} of {c} dropped in Corbel, which had no room for {t}"),
                                (told.missing, "frame{s} for {c} lost on the line to Corbel"),
                                (told.unread_frames, "frame{s} for {c} that Corbel had no room for, or nobody to read")):
                if count:
                    out.append(f"{count} " + text.format(s="" if count == 1 else "s", c=c.name,
                                                         t="it" if count == 1 else "them"))
        if self.damaged:
            out.append(f"{self.damaged} damaged frame{'' if self.damaged == 1 else 's'}")
        if self.skipped:
            out.append(f"{self.skipped} byte{'' if self.skipped == 1 else 's'} that belong{'s' * (self.skipped == 1)} to no frame")
        if self.strange:
            out.append(f"{self.strange} status frames that make no sense")
        for count, text in zip(self.heard or (), ("byte{s} of no frame", "damaged frame{s}", "frame{s} for no channel")):
            if count:
                out.append(f"Corbel heard {count} " + text.format(s="" if count == 1 else "s"))
        return out

    def summary(self):
        """What the line carried, in lines."""
        out = [f"{c.name}: {c.frames} frame{'' if c.frames == 1 else 's'}, {c.bytes} bytes"
               for number, c in sorted(self.channels.items()) if number != CONTROL and (c.frames or (c.told and c.told.used))]
        return out + self.losses()
