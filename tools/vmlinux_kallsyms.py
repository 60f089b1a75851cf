"""The names that Linux carries for itself: scripts/kallsyms.c's tables, found in the kernel's read-only data.

Names are packed: each is a length and bytes of which each stands for a token; 256 tokens lie one behind the other,
each ended by a zero byte, and an index says where each begins. Tokens of one letter stand at that letter's place, by
which the tables are found. Before the names stands their number, behind them the offset of every 256th. Addresses are
32-bit offsets: to a base, or, in kernels that keep per-CPU symbols as they are, absolute where not negative. In 6.1 they
and their base come before the names, from 6.4 on behind the token index. In 7.2 there is no base: each is an offset to
where it stands itself; and tables begin at multiples of 4 there, before it of 8.
"""
import struct
from collections import namedtuple

Symbol = namedtuple("Symbol", "name address type")  # type: as nm has it

DIGITS = b"".join(b"%d\0" % i for i in range(10))
TYPES = [bytes([c]) for c in b"AaBbDdNnRrTtUuVvWw?"]
FEWEST, MOST = 1000, 1 << 22


class NoSymbols(Exception):
    """Why no table was found."""


def words(data, at, count, code="I"):
    return struct.unpack_from(f"<{count}{code}", data, at)


def align(n, to):
    return -(-n // to) * to


def find_tokens(data):
    """The tokens, where their table begins, and where the index ends."""
    at = data.find(DIGITS)
    while at >= 0:
        # The index follows, not far: it starts with 0, and at '0' says how far the digits are from the start.
        for index in range(align(at, 4), min(at + 8192, len(data) - 512), 4):
            starts = words(data, index, 256, "H")
            table = at - starts[ord("0")]
            if starts[0] or table < 0 or any(b <= a for a, b in zip(starts, starts[1:])):
                continue
            tokens = [data[table + s:data.index(b"\0", table + s)] for s in starts]
            if all(s + len(t) + 1 == e for s, t, e in zip(starts, tokens, starts[1:])):
                return tokens, table, index + 512
        at = data.find(DIGITS, at + 1)
    raise NoSymbols("there is no token table: was it built without CONFIG_KALLSYMS?")


def walk(data, at, count, letters):
    """Where each name's tokens are: (offset, length). None if there is something else than names."""
    out = []
    for _ in range(count):
        length = data[at]
        at += 1
        if length & 0x80:
            length = length & 0x7F | data[at] << 7
            at += 1
        if length == 0 or data[at] not in letters:
            return None
        out.append((at, length))
        at += length
    return out


def marked(data, names, alignment):
    """Whether behind the names the markers stand that belong to them."""
    begins = [at - (1 if length < 0x80 else 2) for at, length in names[::256]]
    markers = words(data, align(sum(names[-1]), alignment), len(begins))
    return all(m == b - begins[0] for m, b in zip(markers, begins))


def find_names(data, tokens, end):
    """The names, which lie before the token table, where their number stands, and what tables are aligned to."""
    letters = {i for i, t in enumerate(tokens) if t[:1] in TYPES}
    end &= ~3
    for i, (count,) in enumerate(reversed(list(struct.iter_unpack("<I", data[:end])))):
        if not FEWEST <= count <= MOST:
            continue
        at = end - 4 * (i + 1)
        for alignment in (4, 8):
            if at % alignment or any(data[at + 4:at + alignment]):
                continue
            try:
                names = walk(data, at + alignment, count, letters)
                if names and marked(data, names, alignment):
                    return names, at, alignment
            except (IndexError, struct.error):
                continue  # a number by chance
    raise NoSymbols("there are no names before the token table")


def relative_to_themselves(data, address, count, start):
    addresses = [address + start + 4 * i + o for i, o in enumerate(words(data, start, count, "i"))]
    yield addresses, addresses[0]


def relative_to_base(data, count, start, base_at):
    base, = words(data, base_at, 1, "Q")
    yield [o if o >= 0 else base - 1 - o for o in words(data, start, count, "i")], base
    yield [base + o for o in words(data, start, count)], base


def find_addresses(data, address, count, before, behind, plausible):
    """The addresses, of the table that ends at `before` (6.1) or begins at `behind` (6.4 and later)."""
    for found in (relative_to_themselves(data, address, count, behind),
                  relative_to_base(data, count, behind, behind + align(4 * count, 8)),
                  relative_to_base(data, count, (before - 8 - 4 * count) & ~7, before - 8)):
        try:
            for addresses, base in found:
                if plausible(base) and all(b >= a for a, b in zip(addresses, addresses[1:])):
                    return addresses
        except struct.error:
            continue  # so near to an end no such table can be
    raise NoSymbols("the offsets are not where 6.1, 6.4 and 7.2 have them")


def symbols(data, address, plausible):
    """All symbols, by address. data is the section that holds the tables and begins at address, plausible(address) says
    whether one may be the base of their addresses."""
    try:
        tokens, table, behind = find_tokens(data)
        names, before, alignment = find_names(data, tokens, table)
        addresses = find_addresses(data, address, len(names), before, align(behind, alignment), plausible)
    except struct.error:
        raise NoSymbols("the tables are cut off") from None
    out = []
    for (at, length), where in zip(names, addresses):
        text = b"".join([tokens[b] for b in data[at:at + length]]).decode(errors="replace")
        out.append(Symbol(text[1:], where, text[0]))
    return out
