"""The partitions of an image beside the ESP: those that the config's [disk NAME] sections ask for, and those that an
image had before, which are kept with what is in them."""
import errno
import fcntl
import json
import os
import re
import stat
import struct
import subprocess
import uuid
import zlib

SECTOR = 512
MIB = 2048  # sectors
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
MAX_ENTRIES = 4096
OURS = "Corbel"  # the ESP that tools/image makes
PROTECTIVE = 0xee  # an MBR's type of the partition that stands for the whole GPT
ISO_DESCRIPTOR = 16 * 2048
ISO_PARTITIONS = re.compile(r"(Gap|Appended|ISOHybrid)\d*")  # an ISO's own: what xorriso calls them


class Partition:
    """name; sectors; source: the file that fills it at first, or None; kept: (image, first sector, sectors) whose
    contents it has, or None; kind and identity: its GUIDs; first: where it lies on the new image."""

    def __init__(self, name, sectors, source=None, kept=None, kind=LINUX, identity=None):
        self.name, self.sectors, self.source, self.kept = name, sectors, source, kept
        self.kind, self.identity, self.first = kind, identity, None


def _table(f, at):
    """The partitions of the GPT whose header is in that sector; None when it is damaged."""
    f.seek(at * SECTOR)
    header = f.read(SECTOR)
    if header[:8] != b"EFI PART":
        return None
    size, crc = struct.unpack_from("<II", header, 12)
    if not 92 <= size <= SECTOR or zlib.crc32(header[:16] + bytes(4) + header[20:size]) != crc:
        return None
    table, count, each, entries_crc = struct.unpack_from("<QIII", header, 72)
    if count > MAX_ENTRIES or not 128 <= each <= 4096:
        return None
    f.seek(table * SECTOR)
    entries = f.read(count * each)
    if zlib.crc32(entries) != entries_crc:
        return None
    found = []
    for i in range(count):
        kind, identity, first, last, _, name = struct.unpack_from("<16s16sQQQ72s", entries, i * each)
        kind = uuid.UUID(bytes_le=kind)
        if kind.int:
            found.append((name.decode("utf-16-le", errors="replace").split("\0")[0], kind, uuid.UUID(bytes_le=identity),
                          first, last - first + 1))
    return found


def _mbr_types(sector):
    """The types of the partitions in an MBR."""
    if sector[510:512] != b"\x55\xaa":
        return []
    entries = [sector[at:at + 16] for at in range(446, 510, 16)]
    return [e[4] for e in entries if e[4] and any(e[12:16])]


def survey(path):
    """The partitions of an image or a device: as they are to be kept, and, in words, what a new image has no place for.
    Nothing where there is no such file; OSError where nobody can tell, as its table is damaged or cannot be read."""
    try:
        f = open(path, "rb")
    except FileNotFoundError:
        return [], []
    with f:
        end = f.seek(0, os.SEEK_END) // SECTOR
        if end <= 67:
            return [], []
        f.seek(0)
        types = _mbr_types(f.read(SECTOR))
        table = _table(f, 1)
        if table is None and PROTECTIVE in types:
            table = _table(f, end - 1)
            if table is None:
                raise OSError(errno.EIO, "its partition table (GPT) is damaged, and so is the backup", path)
        f.seek(ISO_DESCRIPTOR + 1)
        is_iso = f.read(5) == b"CD001"
    lost = []
    if types and PROTECTIVE not in types:
        lost.append("partitions in an MBR")
    kept = []
    for name, kind, identity, first, sectors in table or []:
        if is_iso and ISO_PARTITIONS.fullmatch(name):
            continue
        if kind != ESP:
            kept.append(Partition(name, sectors, kept=(path, first, sectors), kind=kind, identity=identity))
        elif name != OURS:
            lost.append(f"the EFI system partition '{name}', which is none of Corbel's")
    return kept, lost


def existing(path):
    """The partitions of an image or a device but for its ESPs: as they are to be kept."""
    return survey(path)[0]


def lock(path):
    """An open file that keeps others from locking the image; BlockingIOError when somebody has it."""
    while True:
        # A block device that is opened for oneself is not mounted, either.
        f = open(os.open(path, os.O_RDWR | (os.O_EXCL if stat.S_ISBLK(os.stat(path).st_mode) else 0)), "r+b", buffering=0)
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(f.fileno()), os.stat(path)):
                return f
        except OSError:
            f.close()
            raise
        f.close()  # another one has taken its place meanwhile


def why_not(path, error):
    """Why lock() or survey() has failed, for people."""
    if isinstance(error, BlockingIOError):
        return "a machine runs on it, or it is being made"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and os.access(path, os.R_OK):
        return "is read-only, and has partitions that machines write to"
    if error.errno == errno.EBUSY:
        return "it is in use: is something on it mounted?"
    return error.strerror


def _is_qcow2(path):
    with open(path, "rb") as f:
        return f.read(4) == b"QFI\xfb"


def chain(path):
    """The files that make up what a raw or qcow2 file holds: itself, and those that it is based on."""
    try:
        if not _is_qcow2(path):
            return [path]
        p = subprocess.run(["qemu-img", "info", "--backing-chain", "--output=json", "-U", path], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [path]  # source_sectors() says what is wrong with it
    return [path] + [each["filename"] for each in json.loads(p.stdout)]


def source_sectors(path):
    """How many sectors a raw or qcow2 file fills."""
    if not _is_qcow2(path):
        return -(-os.path.getsize(path) // SECTOR)
    try:
        p = subprocess.run(["qemu-img", "info", "--output=json", "-U", path], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise SystemExit(f"image: {path} is a qcow2 file, and qemu-img is not installed") from None
    if p.returncode:
        raise SystemExit(f"image: {path}: {p.stderr.decode(errors='replace').strip()}")
    return -(-json.loads(p.stdout)["virtual-size"] // SECTOR)


def wanted(name, size, source, old=None):
    """What a [disk NAME] section asks for: size in bytes or 0, source a path or None. old: what the image has of that
    name: it keeps its contents and its GUID, and may grow."""
    if old and size and -(-size // (MIB * SECTOR)) * MIB < old.sectors:
        raise SystemExit(f"image: partition {name} has {old.sectors // MIB} MiB: it does not shrink to "
                         f"{-(-size // (MIB * SECTOR))}; FRESH=1 makes it anew")
    if old:
        old.sectors = max(old.sectors, -(-size // (MIB * SECTOR)) * MIB)
        return old
    inside = 0
    if source:
        try:
            inside = source_sectors(source)
        except OSError as e:
            raise SystemExit(f"image: [disk {name}]: {source}: {e.strerror}") from None
    sectors = -(-size // SECTOR) if size else inside
    if inside > sectors:
        raise SystemExit(f"image: [disk {name}]: {source} needs {inside * SECTOR} bytes; size gives it {size}")
    if not sectors:
        raise SystemExit(f"image: [disk {name}]: {source} is empty")
    return Partition(name, -(-sectors // MIB) * MIB, source)


def merge(asked, old):
    """The partitions of the new image: those that are asked for, as (name, size, source), and all old ones."""
    result, left = [], list(old)
    for name, size, source in asked:
        same = [o for o in left if o.name == name]
        if len(same) > 1:
            raise SystemExit(f"image: two partitions are called {name}; FRESH=1 makes all of them anew")
        if same:
            left.remove(same[0])
        result.append(wanted(name, size, source, same[0] if same else None))
    return result + left


def place(partitions, first, image):
    """Give each its place from that sector on, and new ones their GUID; returns the sector behind them all."""
    for p in partitions:
        p.first = -(-first // MIB) * MIB
        p.identity = p.identity or uuid.uuid5(image, p.name)
        first = p.first + p.sectors
    return first


def arguments(partitions):
    """What makes them, for sgdisk."""
    out = []
    for n, p in enumerate(partitions, 2):
        out += [f"--new={n}:{p.first}:{p.first + p.sectors - 1}", f"--change-name={n}:{p.name}", f"--typecode={n}:{p.kind}",
                f"--partition-guid={n}:{p.identity}"]
    return out


def fill(p, out, run, scratch):
    """Write its contents into the image."""
    if p.kept:
        path, first, sectors = p.kept
        run("dd", f"if={path}", f"of={out}", "bs=1M", "conv=sparse,notrunc", "iflag=skip_bytes,count_bytes",
            "oflag=seek_bytes", f"skip={first * SECTOR}", f"count={sectors * SECTOR}", f"seek={p.first * SECTOR}")
    elif p.source:
        raw = p.source
        packed = _is_qcow2(raw)
        if packed:
            raw = os.path.join(scratch, "unpacked.raw")
            run("qemu-img", "convert", "-U", "-O", "raw", p.source, raw)
        run("dd", f"if={raw}", f"of={out}", "bs=1M", "conv=sparse,notrunc", "oflag=seek_bytes", f"seek={p.first * SECTOR}")
        if packed:
            os.remove(raw)
