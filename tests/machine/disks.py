"""`mode = check` on drives: what is listed, read and written, on each kind of controller that there is an emulator of."""

import os
import struct
import subprocess

from check import report
from harness import Failure, expect, expect_in, host, scenario
from tools import make
import partitions

SECTOR = 512
PATH = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")


def sgdisk(path, *arguments):
    p = subprocess.run(["sgdisk", *arguments, path], env=PATH, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    if p.returncode:
        raise Failure(f"sgdisk: {p.stdout.decode(errors='replace')}")


def pattern(sector, salt):
    """What the test writes into a sector of a disk: guest/check_disks.c."""
    return b"".join(((sector * 64 + word + 1) * 0x9e3779b97f4a7c15 & 2**64 - 1 ^ salt).to_bytes(8, "little")
                    for word in range(SECTOR // 8))


class Disk:
    """An image of 8 MiB with two partitions: `scratch`, of 2 MiB, and `kept`, which is full of sevens."""
    first, last = 2048, 6143

    def __init__(self, lab, name="data.img", sectors=16384):
        self.path = lab.file(name)
        with open(self.path, "wb") as f:
            f.truncate(sectors * SECTOR)
        sgdisk(self.path, "--clear", f"--new=1:{self.first}:{self.last}", "--change-name=1:scratch",
               f"--new=2:{self.last + 1}:0", "--change-name=2:kept")
        with open(self.path, "r+b") as f:
            f.seek((self.last + 1) * SECTOR)
            f.write(b"\7" * (4096 * SECTOR))
        self.before = self.read()

    def read(self):
        with open(self.path, "rb") as f:
            return f.read()

    def check_written(self, text):
        """The partition holds what the test writes, to the last sector, and nothing else has changed. text: the log."""
        salt = int(expect_in(r", with salt ([0-9a-f]{16})$", text)[1], 16)
        now, begin, end = self.read(), self.first * SECTOR, (self.last + 1) * SECTOR
        expect(now[:begin] == self.before[:begin] and now[end:] == self.before[end:], "something beside the partition has changed")
        for sector in (self.first, self.first + 1, (self.first + self.last) // 2, self.last):
            expect(now[sector * SECTOR:(sector + 1) * SECTOR] == pattern(sector, salt), f"sector {sector} was not written")


def said(lab):
    return lab.machines[-1].text()


def check(lab, config, *drive, **options):
    """Run a check in QEMU with this drive beside the boot disk; what COM1 said."""
    report(lab, lab.image(host(mode="check", log="debug", **config)), kind="qemu", model="Nehalem,-vmx", extra=list(drive), **options)
    return said(lab)


AHCI = ["-device", "ahci,id=ahci", "-device", "ide-hd,drive=data,bus=ahci.0,serial=S7"]
NVME = ["-device", "nvme,drive=data,serial=S7"]
VIRTIO = ["-device", "virtio-blk-pci,drive=data,serial=S7"]
IDE = ["-device", "ide-hd,drive=data,bus=ide.0,unit=1,serial=S7"]
KINDS = {"ahci": (AHCI, "sata0", "AHCI"), "nvme": (NVME, "nvme0n1", "NVMe"), "virtio": (VIRTIO, "virtio0", "virtio"),
         "ide": (IDE, "ata1", "IDE, bus-master DMA")}


def raw(disk):
    return ["-drive", f"if=none,id=data,format=raw,file={disk.path}"]


class WriteLog:
    """A drive of QEMU's that keeps a log of what is written to it and when it is flushed (its driver blklogwrites, in the
    format of Linux' dm-log-writes). Until the first FLUSH behind a write one sector of the partition, `guarded`, cannot be read:
    what is read back before that shows as an error, whatever QEMU flushes by itself when it ends."""
    MAGIC, VERSION = 0x6a736677736872, 1
    SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")  # magic, version, entries, sector; first, sectors, flags, length
    FLUSH, FUA, DISCARD = 1, 2, 4

    def __init__(self, lab, disk):
        self.disk, self.path = disk, lab.file("writes.log", b"")
        guarded = (disk.first + disk.last) // 2
        other = disk.first // 2  # nobody reads it: in its place, so that blkdebug forgets the one before
        rule = '[inject-error]\nevent = "read_aio"\niotype = "read"\nerrno = "5"\nsector = "{}"\nstate = "{}"\n'
        self.rules = lab.file("rules", rule.format(guarded, 1) + rule.format(other, 2) +
                              '[set-state]\nevent = "flush_to_disk"\nstate = "1"\nnew_state = "2"\n')

    def drive(self):
        return ["-drive", f"if=none,id=data,format=raw,rerror=report,werror=report,file.driver=blkdebug,file.config={self.rules},"
                f"file.image.driver=blklogwrites,file.image.file.driver=file,file.image.file.filename={self.disk.path},"
                f"file.image.log.driver=file,file.image.log.filename={self.path}"]

    def entries(self):
        """(first sector, sectors, flags, data) of each, in their order."""
        with open(self.path, "rb") as f:
            log = f.read()
        magic, version, count, sector = self.SUPER.unpack_from(log)
        expect((magic, version, sector) == (self.MAGIC, self.VERSION, SECTOR), f"not a log of writes: {log[:64].hex()}")
        out, at = [], SECTOR
        for _ in range(count):
            first, sectors, flags, _ = self.ENTRY.unpack_from(log, at)
            at += SECTOR
            size = 0 if flags & (self.FLUSH | self.DISCARD) else sectors * SECTOR
            expect(at + size <= len(log), "the log ends within an entry")
            out.append((first, sectors, flags, log[at:at + size]))
            at += size
        return out

    def check(self, text):
        """All of the partition was written, nothing else was, and behind the last write came a FLUSH. text: Corbel's log."""
        salt = int(expect_in(r", with salt ([0-9a-f]{16})$", text)[1], 16)
        held, flushed = {}, {}  # by sector: what was written; the same before the last FLUSH
        for first, sectors, flags, data in self.entries():
            expect(not flags & self.DISCARD, f"{sectors} sectors from {first} on were discarded")
            expect(not sectors or self.disk.first <= first and first + sectors - 1 <= self.disk.last,
                   f"{sectors} sectors from {first} on were written to, which is not the partition")
            held.update((first + n, data[n * SECTOR:(n + 1) * SECTOR]) for n in range(sectors))
            if flags & self.FLUSH:
                flushed = dict(held)
        missing = [n for n in range(self.disk.first, self.disk.last + 1) if flushed.get(n) != pattern(n, salt)]
        expect(not missing, f"{len(missing)} sectors were not written and flushed, the first is {missing[:1]}")
        expect(flushed == held, "something was written behind the last FLUSH")


def kind_scenario(kind):
    device, name, how = KINDS[kind]

    @scenario(bound=60, name=f"check_disks_{kind}")
    def written(lab):
        """Every write, and the FLUSH behind it, came to the drive, before anything was read back."""
        disk = Disk(lab)
        log = WriteLog(lab, disk)
        text = check(lab, {"check_disks": "write:scratch"}, *log.drive(), *device)
        expect_in(rf"^corbel: disk {name}: 8 MiB, .*serial S7, blocks of 512 bytes; {how}, with interrupts", text)
        expect_in(r"^corbel:   1 'scratch' 2 MiB from 1 MiB on, [0-9a-f-]{36}$", text)
        expect_in(rf"^corbel: disk {name}: written 2 MiB in ", text)
        expect_in(rf"^corbel: disk {name}: what was written and flushed is there$", text)
        expect_in(rf"^corbel: disk {name}: 0 errors, 0 retries, 0 resets; [1-9]", text)
        disk.check_written(text)
        log.check(text)

    @scenario(bound=60, name=f"check_disks_bad_sectors_{kind}")
    def bad_sectors(lab):
        """Some sectors cannot be read, each time: those are told, and all others are read."""
        disk, bad = Disk(lab), range(5000, 16000, 61)
        rules = lab.file("rules", "".join(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "{n}"\n' for n in bad))
        text = check(lab, {"check_disks": "read"}, "-drive",
                     f"if=none,id=data,format=raw,file=blkdebug:{rules}:{disk.path},rerror=report,werror=report", *device)
        expect_in(rf"^corbel: disk {name}: read 8 MiB in ", text)
        expect_in(rf"^corbel: error: disk {name}: {len(bad)} blocks cannot be read; the first is at sector 5000$", text)
        expect_in(r"^corbel: disk ata0: 0 errors, 0 retries, 0 resets; [1-9]", text)


for each in KINDS:
    kind_scenario(each)


@scenario(bound=60)
def check_disks_bochs(lab):
    """Bochs' IDE: the boot disk and one beside it; what is on the ESP stays."""
    disk = Disk(lab)
    second = f"ata0-slave: type=disk, path={disk.path}, mode=flat"
    report(lab, lab.image(host(mode="check", check_disks="write:scratch")), extra=[second])
    text = said(lab)
    expect_in(r"^corbel: disk ata0: .* IDE, bus-master DMA, with interrupts$", text)
    expect_in(r"^corbel:   1 'Corbel' .*, an EFI system partition$", text)
    expect_in(r"^corbel: disk ata1: what was written and flushed is there$", text)
    disk.check_written(text)


@scenario(bound=60)
def check_disks_refused(lab):
    """Never the boot disk's ESP, whatever it is called by; nor a name that two have, nor one that nobody has."""
    disk = Disk(lab)
    sgdisk(disk.path, "--change-name=2:scratch")
    before = disk.read()
    for name, why in (("Corbel", "it is an EFI system partition"), ("scratch", "two partitions are called so"),
                      ("none", "no disk has a partition of this name")):
        text = check(lab, {"check_disks": f"write:{name}"}, *raw(disk), *AHCI)
        expect_in(rf"^corbel: error: check_disks: '{name}' is not written to: {why}", text)
        expect("written" not in text.replace("is not written", ""), f"it has been written to:\n{text[-2000:]}")
    expect(disk.read() == before, "the disk has changed")


@scenario(bound=60)
def check_disks_tables(lab):
    """A table that is damaged, and so is its backup. (OVMF repairs a single one before Corbel is there: test_gpt.)"""
    disk = Disk(lab)
    with open(disk.path, "r+b") as f:
        f.seek(SECTOR + 40)
        f.write(b"\1")
        f.seek(-SECTOR + 40, os.SEEK_END)
        f.write(b"\1")
    text = check(lab, {"check_disks": "write:scratch"}, *raw(disk), *AHCI)
    expect_in(r"^corbel:   its partition table \(GPT\) is damaged, and so is the backup$", text)
    expect_in(r"^corbel: error: check_disks: 'scratch' is not written to: no disk", text)


def contents(image, name):
    """What a partition of an image holds."""
    found = [p for p in partitions.existing(image) if p.name == name]
    expect(len(found) == 1, f"{image} has {len(found)} partitions called {name}")
    _, first, sectors = found[0].kept
    with open(image, "rb") as f:
        f.seek(first * SECTOR)
        return f.read(sectors * SECTOR)


def write_into(image, name, text):
    _, first, _ = next(p for p in partitions.existing(image) if p.name == name).kept
    with open(image, "r+b") as f:
        f.seek(first * SECTOR)
        f.write(text)


@scenario(bound=60)
def make_image_partitions(lab):
    """[disk NAME]: made, filled, kept with what was written to it, grown, and made anew only when that is asked for."""
    mib, out, conf = 1 << 20, lab.path("out.img"), lab.path("test.conf")
    raw = os.urandom(3 * mib // 2)
    lab.file("root.raw", raw)
    p = subprocess.run(["qemu-img", "convert", "-O", "qcow2", lab.path("root.raw"), lab.path("root.qcow2")],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    expect(p.returncode == 0, p.stdout)

    def image(config, *arguments, fails=False):
        lab.file("test.conf", "[vm x]\nkernel = root.raw\n" + config)
        made = make("image", f"CONFIG={conf}", f"OUT={out}", *arguments)
        expect(bool(made.returncode) == fails, f"make image: {made.stdout}")
        return made.stdout

    image("[disk a]\nsize = 2M\n[disk b]\nfrom = root.raw\n[disk c]\nsize = 4M\nfrom = root.qcow2\n")
    sgdisk(out, "--verify")
    expect(contents(out, "a") == bytes(2 * mib), "a is not empty")
    expect(contents(out, "b") == raw + bytes(mib // 2), "b is not the raw file")
    expect(contents(out, "c") == raw + bytes(5 * mib // 2), "c is not what the qcow2 file holds")
    ids = {p.name: p.identity for p in partitions.existing(out)}

    # Another kernel, a larger a, b without its file, c no longer named: what was written is there.
    for name in "abc":
        write_into(out, name, b"written to " + name.encode())
    lab.file("root.raw", bytes(40 * mib))
    os.remove(lab.path("root.qcow2"))
    said = image("[disk a]\nsize = 3M\n[disk b]\nfrom = nowhere\n")
    expect_in(r"partition c, 4 MiB: kept as it was", said, "make image")
    sgdisk(out, "--verify")
    expect(contents(out, "a") == (b"written to a" + bytes(3 * mib))[:3 * mib], "a has changed")
    expect(contents(out, "b") == b"written to b" + raw[12:] + bytes(mib // 2), "b has changed")
    expect(contents(out, "c") == b"written to c" + raw[12:] + bytes(5 * mib // 2), "c has changed")
    expect({p.name: p.identity for p in partitions.existing(out)} == ids, "GUIDs have changed")

    # What cannot be done, and what goes wrong otherwise, leaves all as it was.
    said = image("[disk a]\nsize = 1M\n", fails=True)
    expect_in(r"it does not shrink", said, "make image")
    with partitions.lock(out):
        said = image("[disk a]\nsize = 3M\n", fails=True)
    expect_in(r"a machine runs on it", said, "make image")
    expect(contents(out, "a").startswith(b"written to a"), "a is lost")
    image("[disk a]\nsize = 1M\n", "FRESH=1")
    expect(contents(out, "a") == bytes(mib), "a was to be made anew")
    expect([p.name for p in partitions.existing(out)] == ["a"], "b and c are still there")
    said = image("[disk d]\nfrom = nowhere\n", fails=True)
    expect_in(r"\[disk d\]: .*nowhere: No such file", said, "make image")
