"""VMs with disks and other virtio devices: Debian's kernel and its own modules."""
import hashlib
import os
import random
import re
import subprocess

from disks import PATH, Disk, contents
from monitor import PROMPT, Monitor
from smp import tiny
from trace import check_requests, read, ts
from harness import BOOT, BUILD, COMMAND, NO_VID, PATIENCE, TOP, Shell, corbel_lines, expect, expect_in, host, linux, scenario, wait_for_power_off

MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk")
FOLDER = os.path.join(BUILD, "disks")  # vmlinuz and modules, of one package
SATA_MODULES = ("scsi_common", "scsi_mod", "libata", "libahci", "ahci", "crct10dif_common", "crct10dif_generic", "crc-t10dif",
                "crc64", "crc64_rocksoft_generic", "crc64-rocksoft", "t10-pi", "sd_mod", "crc16", "mbcache", "jbd2",
                "crc32c_generic", "ext4")
SATA_FOLDER = os.path.join(BUILD, "disks-sata")
RNG_MODULES = ("virtio-rng",)  # its core is in the kernel
SECTORS = 16 * 2048 + 3  # 16 MiB and a little
# Of virtio-blk on memory, which needs no FLUSH: SEG_MAX, BLK_SIZE, TOPOLOGY, MQ, DISCARD, WRITE_ZEROES; rings that are indirect, by
# events, packed; version 1.
FEATURES = {2, 6, 10, 12, 13, 14, 28, 29, 32, 34}


def initrd(lab, folder=FOLDER, modules=MODULES):
    """The default initramfs with the modules that a virtio disk takes, or another one."""
    out = lab.path("initrd")
    files = [f"modules/{m}.ko={os.path.join(folder, 'modules', m + '.ko')}" for m in modules]
    subprocess.run([os.path.join(TOP, "tools", "initramfs"), out, *files], check=True, stdout=subprocess.DEVNULL)
    return out


def load_modules(shell, modules=MODULES):
    shell.run("stty columns 400")  # commands are echoed in one piece
    for module in modules:
        said = shell.run(f"insmod /modules/{module}.ko && echo loaded")
        expect(said.strip() == "loaded", f"insmod {module}: {said}")


def disk_file(lab, name="scratch.img"):
    """A file of random bytes that is no whole number of sectors, and its contents."""
    data = os.urandom(SECTORS * 512 - random.randrange(1, 512))
    lab.file(name, data)
    return data


def first_sha(data, megabytes):
    return hashlib.sha256(data[:megabytes << 20]).hexdigest()



def check_interrupts(shell):
    """Requests are answered by messages, none of them lost or nobody's."""
    said = shell.run("grep virtio0-req /proc/interrupts")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+PCI-MSI\s", said, "/proc/interrupts")
    expect(int(count[1]) > 0, f"the disk had no interrupts:\n{said}")


def requests_of(shell):
    """Sectors that Linux has read from its first disk, and written to it, since it started."""
    fields = shell.run("cat /sys/block/vda/stat").split()
    return int(fields[2]), int(fields[6])


def check_trace(path, counted):
    """The trace has every request to the first disk: as many sectors as Linux has counted; each is over, and began before."""
    stream, records = ts.load(read(path))
    expect(not (stream.losses or stream.missing or stream.damaged), stream.summary(records))
    over, left = check_requests(records)
    expect(left == 0 and over["read"] and over["write"], f"requests that are over: {over}, that are not: {left}")
    disk = [(ts.request(r), r) for r in records if r.kind == ts.BLOCK and ts.request(r).over]
    expect({q.disk for q, _ in disk} == {0, 1} and not any(q.error for q, _ in disk), "other disks, or errors")
    sectors = tuple(sum(r.b for q, r in disk if q.disk == 0 and q.op == op) for op in (ts.READ, ts.WRITE))
    expect(sectors == counted, f"sectors read and written: {sectors} in the trace, {counted} in the guest")


def check_dmesg(shell):
    said = shell.run("dmesg | grep -iE 'virtio|vda|vdb|i/o error|ext4|pci.*(fail|error|can.t)|mmconfig|ecam'")
    expect_in(r"PCI: MMCONFIG for domain 0000 \[bus 00-00\] at \[mem 0xb0000000-0xb00fffff\]", said, "dmesg")
    expect_in(r"virtio_blk virtio0: \[vda\] 32771 512-byte logical blocks", said, "dmesg")
    expect(not re.search(r"(?i)error|fail|can.t|not reserved", said), f"dmesg complains:\n{said}")


@scenario(bound=300, slow=True)
def disk_ram(lab):
    """A file as a disk: what it holds, mkfs, mount as ext4, files written, flushed caches, read back; a reset keeps it,
    a second disk cannot be written, and of another VM's it is said what is wrong with the file. All that is traced."""
    data = disk_file(lab)
    lab.file("readonly.img", b"corbel " * 1000)
    config = host(without="vid", trace="block") + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab))
    config += "disk = ram:scratch.img,serial=A-Disk-1\ndisk = ram:readonly.img,ro\n"
    lab.file("empty.img", b"")
    config += tiny(lab, "wrong", disk="ram:empty.img")
    m = lab.boot(config, memory=512, com2=lab.path("com2"))
    m.read_until(r"^corbel: .*corbel\.conf:\d+: \[vm wrong\]: 'empty\.img' is empty: a disk has one sector at least", 200 * PATIENCE)
    shell = Shell(m)
    load_modules(shell)
    expect(shell.run("cd /sys/block; cat vda/size vda/serial; echo; cat vdb/ro; cd").split() ==
           [str(SECTORS), "A-Disk-1", "1"], "size, serial number, read-only")
    said = shell.run("cat /sys/bus/virtio/devices/virtio0/features")
    expect({bit for bit in range(64) if said.strip()[bit] == "1"} == FEATURES, f"features that Linux accepts: {said}")
    said = shell.run("dd if=/dev/vda bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("mke2fs -F /dev/vda >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && "
                     "dd if=/dev/urandom of=/mnt/file bs=64k count=80 2>/dev/null && sha256sum </mnt/file")
    written = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    said = shell.run("umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /mnt && "
                     "sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"what was read back is not what was written:\n{said}")
    said = shell.run("dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>&1; dd if=/dev/vdb bs=7000 count=1 2>/dev/null | sha256sum")
    expect_in(r"(?i)not permitted|read-only", said, "writing to the read-only disk")
    expect_in(hashlib.sha256(b"corbel " * 1000).hexdigest(), said, "the read-only disk")
    check_interrupts(shell)
    check_dmesg(shell)
    before = requests_of(shell)
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    shell = Shell(m)
    load_modules(shell)
    said = shell.run("mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"after a reset the disk holds something else:\n{said}")
    after = requests_of(shell)
    shell.poweroff()
    wait_for_power_off(m)
    check_trace(lab.path("com2"), (before[0] + after[0], before[1] + after[1]))


@scenario(bound=300, soak=True)
def disk_ram_reloaded(lab):
    """The state of the PCI bus and of the disk is saved, wiped and reloaded at random exits, while the disk is used."""
    data = disk_file(lab)
    config = host(without="vid", test_reload=50) + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab))
    m = lab.boot(config + "disk = ram:scratch.img\n", memory=512)
    shell = Shell(m)
    load_modules(shell)
    said = shell.run("dd if=/dev/vda bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("dd if=/dev/vda of=/tmp/a bs=64k count=16 2>/dev/null; dd if=/tmp/a of=/dev/vda bs=64k seek=100 "
                     "2>/dev/null; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=64k skip=100 count=16 2>/dev/null | sha256sum")
    expect(said.startswith(first_sha(data, 1)), f"what was read back is not what was written:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", "\n".join(corbel_lines(m.text())))


# --- bus=ahci: Debian's other kernel, whose ahci, libata and sd_mod find ata disks ---


def sata_debian(lab, *lines):
    return linux("debian", kernel=os.path.join(SATA_FOLDER, "vmlinuz"), initrd=initrd(lab, SATA_FOLDER, SATA_MODULES)) + \
        "".join(f"{line}\n" for line in lines)


def wait_for(shell, *names):
    """Disks are looked for in the background."""
    for name in names:
        said = shell.run(f"for i in $(seq 300); do [ -b /dev/{name} ] && break; sleep 0.1; done; ls /dev/{name}", 60)
        expect(said.strip() == f"/dev/{name}", f"there is no {name}: {said}\n{shell.run('dmesg | tail -40')}")


@scenario(bound=600, slow=True)
def disk_ahci(lab):
    """Two files as SATA disks: what the first holds, mkfs, mount as ext4, files written, synced, caches dropped, read back; what
    is queued and interrupts by messages; writes to the second, which is read-only, fail, by its log of queued commands, and
    disturb nothing; a reset keeps what was written."""
    data = disk_file(lab)
    lab.file("readonly.img", b"corbel " * 2000)  # of the 16 sectors at least in which Linux looks for a partition table
    m = lab.boot(NO_VID + sata_debian(lab, "disk = ram:scratch.img,serial=A-Disk-1,bus=ahci", "disk = ram:readonly.img,ro,bus=ahci"),
                 memory=640)
    shell = Shell(m, slow=3)
    load_modules(shell, SATA_MODULES)
    wait_for(shell, "sda", "sdb")
    said = shell.run("cd /sys/block/sda; cat size device/queue_depth device/model; tr -dc ' -~' <device/vpd_pg80; echo; cd")
    expect(said.split()[:4] == [str(SECTORS), "32", "Corbel", "disk"] and "A-Disk-1" in said, f"what it says of itself: {said}")
    said = shell.run("dd if=/dev/sda bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("mke2fs -F /dev/sda >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/sda /mnt && " + WRITE.format("file", 80), 120)
    written = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    said = shell.run("dd if=/dev/zero of=/dev/sdb bs=512 count=4 2>&1; sync; dmesg | grep -E 'sdb|ata2' | tail -30")
    expect_in(r"I/O error, dev sdb, sector 0 ", said, "writing to the read-only disk")
    expect_in(r"failed command: WRITE FPDMA QUEUED", said, "dmesg")
    expect(not re.search(r"failed to read log page|hard resetting link|device error via|timeout", said), f"how it was recovered:\n{said}")
    said = shell.run("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/sdb bs=7000 count=1 2>/dev/null | sha256sum")
    expect_in(hashlib.sha256(b"corbel " * 1000).hexdigest(), said, "the read-only disk")
    said = shell.run("umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/sda /mnt && sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"what was read back is not what was written:\n{said}")
    said = shell.run("grep ahci /proc/interrupts")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+PCI-MSI\s", said, "/proc/interrupts")
    expect(int(count[1]) > 0, f"the controller had no interrupts:\n{said}")
    said = shell.run("dmesg | grep -E 'ahci|ata[0-9]|sda|EXT4'")
    expect_in(r"AHCI 0001\.0301 32 slots 2 ports 3 Gbps 0x3 impl SATA mode", said, "dmesg")
    expect_in(r"ata1\.00: ATA-8: Corbel disk, 1\.0, max UDMA/100", said, "dmesg")
    expect(not re.search(r"ata1.*(?i:error|fail|exception)|sda.*error", said), f"dmesg complains:\n{said}")
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    shell = Shell(m, slow=3)
    load_modules(shell, SATA_MODULES)
    wait_for(shell, "sda")
    said = shell.run("mkdir -p /mnt && mount -t ext4 /dev/sda /mnt && sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"after a reset the disk holds something else:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)


@scenario(bound=600, soak=True)
def disk_ahci_reloaded(lab):
    """The state of the AHCI controller is saved, wiped and reloaded at random exits, while its disk is used."""
    data = disk_file(lab)
    m = lab.boot(host(without="vid", test_reload=50) + sata_debian(lab, "disk = ram:scratch.img,bus=ahci"), memory=640)
    shell = Shell(m, slow=4)
    load_modules(shell, SATA_MODULES)
    wait_for(shell, "sda")
    said = shell.run("dd if=/dev/sda bs=1M count=16 2>/dev/null | sha256sum", 120).split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("dd if=/dev/sda of=/tmp/a bs=64k count=16 2>/dev/null; dd if=/tmp/a of=/dev/sda bs=64k seek=100 "
                     "2>/dev/null; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/sda bs=64k skip=100 count=16 2>/dev/null | sha256sum", 120)
    expect(said.startswith(first_sha(data, 1)), f"what was read back is not what was written:\n{said}")
    said = shell.run("dmesg | grep -E 'ata[0-9]|sda'")
    expect(not re.search(r"(?i)error|exception|reset", said.replace("softreset", "")), f"dmesg complains:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", "\n".join(corbel_lines(m.text())))


# --- partitions of drives ---


NVME_WRITE = "dd if=/dev/urandom of=/mnt/file bs=64k count={} 2>/dev/null; sync; sha256sum </mnt/file"
NVME_READ = "echo 3 >/proc/sys/vm/drop_caches; sha256sum </mnt/file"


def nvme_shell(m):
    """Debian's cloud kernel has its NVMe driver built in."""
    shell = Shell(m)
    shell.run("stty columns 400")
    return shell


@scenario(bound=300, slow=True)
def disk_nvme(lab):
    """A file as an NVMe disk: what Linux' driver finds, mkfs, ext4, files written, synced, trimmed, read back; a reset keeps
    it, and a second disk cannot be written."""
    data = disk_file(lab)
    lab.file("readonly.img", b"corbel " * 1000)
    config = NO_VID + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab))
    config += "disk = ram:scratch.img,serial=A-Disk-1,bus=nvme\ndisk = ram:readonly.img,ro,bus=nvme\n"
    m = lab.boot(config, memory=512)
    shell = nvme_shell(m)
    said = shell.run("cd /sys/block; cat nvme0n1/size nvme0n1/device/serial nvme0n1/device/model nvme1n1/ro "
                     "nvme0n1/queue/max_hw_sectors_kb nvme0n1/queue/minimum_io_size; cd")
    expect(said.split() == [str(SECTORS), "A-Disk-1", "Corbel", "disk", "1", "512", "4096"], f"what the driver has found:\n{said}")
    said = shell.run("dd if=/dev/nvme0n1 bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("mke2fs -F /dev/nvme0n1 >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/nvme0n1 /mnt && " +
                     NVME_WRITE.format(80))
    written = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    said = shell.run("fstrim -v /mnt; umount /mnt; mount -t ext4 /dev/nvme0n1 /mnt; " + NVME_READ + "; umount /mnt")
    expect_in(written, said, "what was read back is not what was written")
    said = shell.run("dd if=/dev/zero of=/dev/nvme1n1 bs=512 count=1 2>&1; dd if=/dev/nvme1n1 bs=7000 count=1 2>/dev/null | sha256sum")
    expect_in(r"(?i)not permitted|read-only", said, "writing to the read-only disk")
    expect_in(hashlib.sha256(b"corbel " * 1000).hexdigest(), said, "the read-only disk")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+PCI-MSI\S*\s.*nvme0q1", shell.run("grep nvme0q /proc/interrupts"), "/proc/interrupts")
    expect(int(count[1]) > 0, "the disk had no interrupts")
    said = shell.run("dmesg | grep -iE 'nvme|i/o error|ext4|pci.*(fail|error|can.t)'")
    expect_in(r"nvme nvme0: 1/0/0 default/read/poll queues", said, "dmesg")
    expect(not re.search(r"(?i)error|fail|can.t|warn|unable|timeout", said), f"dmesg complains:\n{said}")
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    shell = nvme_shell(m)
    said = shell.run("mkdir -p /mnt && mount -t ext4 /dev/nvme0n1 /mnt && sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"after a reset the disk holds something else:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)


@scenario(bound=300, soak=True)
def disk_nvme_reloaded(lab):
    """The state of an NVMe controller is saved, wiped and reloaded at random exits, while Linux uses it."""
    data = disk_file(lab)
    config = host(without="vid", test_reload=50) + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab))
    m = lab.boot(config + "disk = ram:scratch.img,bus=nvme\n", memory=512)
    shell = nvme_shell(m)
    said = shell.run("dd if=/dev/nvme0n1 bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    said = shell.run("mke2fs -F /dev/nvme0n1 >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/nvme0n1 /mnt && " +
                     NVME_WRITE.format(16) + "; " + NVME_READ + "; umount /mnt")
    written = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    expect(said.count(written) == 2, f"what was read back is not what was written:\n{said}")
    said = shell.run("dmesg | grep -iE 'nvme|i/o error'")
    expect(not re.search(r"(?i)error|fail|timeout", said), f"dmesg complains:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", "\n".join(corbel_lines(m.text())))


def debian_with(lab, *lines, name="debian"):
    return linux(name, kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab)) + "".join(f"{line}\n" for line in lines)


def shell_with_disk(lab, image):
    m = lab.start(image, memory=512, in_place=True)
    shell = Shell(m, slow=2)
    load_modules(shell)
    return m, shell


def file_system(lab, image, name, *e2fsck):
    """A partition of an image as a file of its own, which e2fsck has nothing against."""
    path = lab.file("partition.img", contents(image, name))
    p = subprocess.run(["e2fsck", "-f", *e2fsck, path], env=PATH, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    expect(p.returncode == 0 or ("-y" in e2fsck and p.returncode == 1), f"e2fsck {' '.join(e2fsck)}: {p.stdout.decode(errors='replace')}")
    return path


def sha_in(path, name):
    p = subprocess.run(["debugfs", "-R", f"cat {name}", path], env=PATH, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    return hashlib.sha256(p.stdout).hexdigest()


def look_at_disks(m, shell):
    """What the monitor says of the drive, its partitions and the VM's disk, of which the guest has its own numbers."""
    reads, _, read, _, writes, _, written = [int(n) for n in shell.run("cat /sys/block/vda/stat").split()[:7]]
    monitor = Monitor(m)
    monitor.enter()
    said = monitor.run("help disks")
    expect_in(r"^disks \[DRIVE\|VM\]: .*\nfor example: disks ata0", said, "help")
    said = monitor.run("disks")
    expect_in(r"^ata0 +\S+ +[1-9]\d* +\S+[KM] +\S+[KM] +0 +[\d.]+ [um]s +[\d.]+ [um]?s +0\n  \S.*, serial BXHD00011\n"
              r"  IDE, bus-master DMA, with interrupts, 1 queue; 0 retries, 0 resets$", said, "disks")
    expect_in(r"^ +\d+  Corbel +\S+  nobody: an EFI system partition$", said, "disks")
    expect_in(r"^ +\d+  data +24M  debian writes$", said, "disks")
    expect_in(r"^ +\d+  beside +1M$", said, "disks")
    expect_in(r"^debian\n  part:data +24M +[1-9]\d* +\S+[KM] +\S+[KM] +[1-9]\d* +0 +0$", said, "disks")
    expect(max(map(len, said.split("\n"))) <= 80, f"lines are wider than a terminal:\n{said}")
    said = monitor.run("disks debian")
    for what, requests, sectors in (("reads", reads, read), ("writes", writes, written)):
        found = expect_in(rf"^    {what} +(\d+), ([\d.]+)([KM])$", said, "disks debian")
        size = float(found[2]) * {"K": 1 << 10, "M": 1 << 20}[found[3]]
        expect(abs(int(found[1]) - requests) <= 20, f"{what}: {found[1]}, but the guest counts {requests}")
        expect(0.9 * sectors * 512 <= size <= 1.1 * sectors * 512 + (1 << 20), f"{what}: {size}, but the guest counts {sectors} sectors")
    expect_in(r"^    flushes +[1-9]\d*; 0 ", said, "disks debian")
    expect_in(r"^    in flight +0\n    errors +0$", said, "disks debian")
    m.send("disks at\t\r")
    said = m.read_until(rb"\r\n(ata0: (?s:.*?))\r" + PROMPT, COMMAND * PATIENCE)[1].replace(b"\r", b"").decode()
    expect_in(r"^ +0 +1 +0 +0 +[1-9]\d* +[\d.]+ [um]s +[\d.]+ [um]?s +[1-9]\d* +0$", said, "disks ata0")
    expect_in(r"^there is no drive and no VM 'ata7': disks and list show them$", monitor.run("disks ata7"), "disks ata7")


WRITE = "dd if=/dev/urandom of=/mnt/{0} bs=64k count={1} 2>/dev/null && sync && sha256sum </mnt/{0}"


@scenario(bound=400)
def disk_partition(lab):
    """A partition of the boot disk, by Bochs' IDE: after the machine has gone off it holds, seen from outside, a clean file
    system with the file; the next boot finds it, and what that one has synced is there when the power is cut. The
    partition beside it is as it was."""
    sevens = lab.file("sevens", b"\7" * (1 << 20))
    config = NO_VID + debian_with(lab, "disk = part:data") + f"[disk data]\nsize = 24M\n[disk beside]\nfrom = {sevens}\n"
    image = lab.image(config)
    m, shell = shell_with_disk(lab, image)
    said = shell.run("cat /sys/block/vda/size; mke2fs -F /dev/vda >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && " +
                     WRITE.format("first", 50), 120)
    expect_in(r"^49152$", said, "its size")
    first = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    said = shell.run("umount /mnt; dd if=/dev/zero of=/dev/vda bs=512 seek=49152 count=1 2>&1")
    expect_in(r"(?i)no space|invalid", said, "writing past its end")
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^disk ata0: .*serial BXHD00011; IDE, bus-master DMA, with interrupts$", "\n".join(corbel_lines(m.text())))
    expect(sha_in(file_system(lab, image, "data", "-n"), "first") == first, "from outside the file is another one")
    m, shell = shell_with_disk(lab, image)
    said = shell.run("mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && sha256sum </mnt/first; dmesg | grep -i 'error'", 120)
    expect(said.startswith(first), f"what was written is not there:\n{said}")
    expect("rror" not in said, f"dmesg complains:\n{said}")
    second = expect_in(r"^([0-9a-f]{64})", shell.run(WRITE.format("second", 20), 120), "write")[1]
    look_at_disks(m, shell)
    m.kill()  # the power is cut
    path = file_system(lab, image, "data", "-y")
    expect((sha_in(path, "first"), sha_in(path, "second")) == (first, second), "what was synced is not there")
    expect(contents(image, "beside") == b"\7" * (1 << 20), "the partition beside it has changed")


def hotplug_lines(shell):
    """What acpiphp and the bus say of it, which is nothing bad."""
    said = shell.run("dmesg | grep -iE 'acpiphp|acpi error|acpi bios|pci 0000|virtio_blk|vd[a-z]|gpe'")
    expect(not re.search(r"(?i)error|fail|can.t|invalid", said), f"dmesg complains:\n{said}")
    return said


@scenario(bound=300, slow=True)
def disk_hotplug(lab):
    """Disks come and go under Debian's kernel, by its own acpiphp: one comes to a VM that has none, is mounted and
    written; another comes beside it; both go, one asked for at the monitor, one by the guest's own wish, and come again
    with what they hold."""
    data = disk_file(lab)
    config = NO_VID + debian_with(lab) + tiny(lab, "owner", autostart="no", disk="ram:scratch.img")
    m = lab.boot(config, memory=512)
    shell = Shell(m)
    load_modules(shell)
    monitor = Monitor(m)

    def ask(command, bound=COMMAND):
        monitor.enter()
        said = monitor.run(command, bound)
        m.send("\x1d")  # back to the guest
        m.send("\r")
        shell.prompt(COMMAND)
        return said

    expect(shell.run("ls /sys/block | grep -c vd").strip() == "0", "there is a disk already")
    expect_in(r"^8$", shell.run("ls /sys/bus/pci/slots | wc -l"), "slots")
    expect_in(r"nothing that can come while a VM runs", ask("attach debian net=x"), "attach")
    expect_in(r"names it nowhere", ask("attach debian disk=ram:other.img"), "attach")
    expect_in(r"^debian: disk ram:scratch\.img,serial=First is there, at PCI device 1$",
              ask("attach debian disk=ram:scratch.img,serial=First"), "attach")
    wait = "for i in $(seq 100); do [ -e /dev/{0} ] {1} break; sleep 0.1; done; ls /sys/block | grep vd"
    expect_in(r"^vda$", shell.run(wait.format("vda", "&&")), "the disk does not come")
    expect(shell.run("cat /sys/block/vda/size /sys/block/vda/serial").split() == [str(SECTORS), "First"], "size, serial number")
    said = shell.run("dd if=/dev/vda bs=1M count=16 2>/dev/null | sha256sum", 60)
    expect(said.startswith(first_sha(data, 16)), "the disk does not hold the file")
    said = shell.run("mke2fs -F /dev/vda >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && "
                     "dd if=/dev/urandom of=/mnt/file bs=64k count=30 2>/dev/null && sha256sum </mnt/file", 60)
    written = expect_in(r"^([0-9a-f]{64})", said, "mkfs, mount, write")[1]
    expect_in(r"at PCI device 2$", ask("attach debian disk=ram:scratch.img,serial=Second"), "attach")
    expect_in(r"^vdb$", shell.run(wait.format("vdb", "&&")), "the second disk does not come")
    said = shell.run("dd if=/dev/vdb bs=1M count=16 2>/dev/null | sha256sum; sync; echo 3 >/proc/sys/vm/drop_caches; "
                     "sha256sum </mnt/file", 60)
    expect_in(first_sha(data, 16), said, "the second disk does not hold the file")
    expect_in(written, said, "what was written to the first")
    expect_in(r"more than one ram:scratch\.img: say its PCI device, such as 1 or 2", ask("detach debian ram:scratch.img"), "detach")
    expect_in(r"^debian: 2 is gone$", ask("detach debian 2", 60), "detach")
    expect_in(r"^vda$", shell.run(wait.format("vdb", "||")), "the second disk does not go")
    expect_in(written, shell.run("sha256sum </mnt/file; umount /mnt"), "what was written to the first")
    # By the guest's own wish.
    said = shell.run("echo 0 >/sys/bus/pci/slots/1/power; sleep 1")
    expect_in(r"corbel: debian: ram:scratch\.img is detached$", said, "the slot's power")
    expect(shell.run("ls /sys/block | grep -c vd").strip() == "0", "the disk is still there")
    expect_in(r"has no 'ram:scratch\.img' that could go", ask("detach debian ram:scratch.img"), "detach")
    hotplug_lines(shell)
    # Several times, while it is read: of which the kernel may complain.
    for _ in range(3):
        expect_in(r"at PCI device 1$", ask("attach debian disk=ram:scratch.img"), "attach")
        expect_in(r"^vd[a-z]$", shell.run(wait.format("vd?", "&&")), "the disk does not come again")
        shell.run("(while dd if=$(echo /dev/vd?) of=/dev/null bs=64k count=16 2>/dev/null; do echo 1 >/proc/sys/vm/drop_caches; done) >/dev/null 2>&1 & true")
        expect_in(r"^debian: ram:scratch\.img is gone$", ask("detach debian ram:scratch.img", 60), "detach in mid-I/O")
    shell.poweroff()
    m.read_until(r"no VM runs: those", BOOT * PATIENCE)  # "owner" could be started
    m.type("poweroff\n")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


@scenario(bound=90)
def disk_refused(lab):
    """What no VM gets, or not at the same time as another one, and what is said of it."""
    disk = Disk(lab)
    # The first two spin for ever, and hold what they have.
    config = host(log="info") + tiny(lab, "writer", "spin", disk="part:scratch")
    config += tiny(lab, "reader", "spin", disk="part:scratch,ro")
    wrong = {"again": ("part:scratch", "VM writer writes to it"),
             "around": ("disk:BXHD00012", "VM writer writes to it"),
             "nowhere": ("part:nowhere", "no disk has a partition of this name or GUID"),
             "serial": ("disk:S7", "no disk that Corbel drives has this serial number"),
             "esp": ("part:Corbel", "it is an EFI system partition, which firmware starts the machine from"),
             "boot": ("disk:BXHD00011", "Corbel itself was started from it")}
    for name, (source, _) in wrong.items():
        config += tiny(lab, name, disk=source, allow_whole_disk="yes")
    config += tiny(lab, "slip", disk="disk:BXHD00012")
    m = lab.start(lab.image(config), extra=[f"ata0-slave: type=disk, path={disk.path}, mode=flat"])
    m.read_until(r"^corbel: reader: starts with", 60 * PATIENCE)
    m.read_until(r"\[vm boot\]: [^\n]*\n", 60 * PATIENCE)
    text = m.text()
    for name, (source, why) in wrong.items():
        expect_in(rf"^corbel: error: corbel\.conf:\d+: \[vm {name}\]: disk = {source}: {re.escape(why)}$", text)
    expect_in(r"^corbel: error: corbel\.conf:\d+: disk = disk:BXHD00012 needs `allow_whole_disk = yes` in \[vm slip\]$", text)
    expect("slip: starts" not in text, "a VM has a whole disk without leave")
    monitor = Monitor(m)
    monitor.enter()
    said = monitor.run("disks ata1")
    expect_in(r"^ata1: 8M, blocks of 512 bytes", said, "disks ata1")
    expect_in(r"^ +1  scratch +2M  writer writes\n +reader reads\n +from 1M on, GUID [0-9a-f-]{36}$", said, "disks ata1")
    expect_in(r"^ +2  kept +\S+$", said, "disks ata1")
    expect(disk.read() == disk.before, "the disk has changed")


@scenario(bound=300, slow=True)
def rng_linux(lab):
    """Linux' own virtio-rng: it is the current source, what /dev/hwrng says is not twice the same, more than comes at once
    comes in time and no faster; it takes messages, and works after the module was removed and loaded again, and after a
    reset. A VM that does not ask for it has none."""
    config = NO_VID + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"),
                            initrd=initrd(lab, modules=MODULES + RNG_MODULES), rng="yes")
    m = lab.boot(config, memory=512)
    shell = Shell(m)
    load_modules(shell, MODULES + RNG_MODULES)
    check_rng(shell)
    said = shell.run("rmmod virtio_rng && insmod /modules/virtio-rng.ko && dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c")
    expect(said.strip() == "64", f"after it was removed and loaded again: {said}")
    said = shell.run("dmesg | grep -iE 'virtio|hwrng|rng|pci.*(fail|error)'")
    expect(not re.search(r"(?i)error|fail|can.t", said), f"dmesg complains:\n{said}")
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    shell = Shell(m)
    load_modules(shell, MODULES + RNG_MODULES)
    check_rng(shell)
    shell.poweroff()
    wait_for_power_off(m)


def check_rng(shell):
    said = shell.run("cat /sys/class/misc/hw_random/rng_current")
    expect(said.strip() == "virtio_rng.0", f"rng_current: {said}")
    said = shell.run("for i in 1 2 3 4; do dd if=/dev/hwrng bs=64 count=1 2>/dev/null | sha256sum; done")
    sums = re.findall(r"^([0-9a-f]{64})", said, re.M)
    expect(len(set(sums)) == 4 and hashlib.sha256(b"").hexdigest() not in sums, f"what /dev/hwrng says:\n{said}")
    # 25 KiB a second at most: 32 KiB take longer than one.
    said = shell.run("cut -d' ' -f1 /proc/uptime; dd if=/dev/hwrng bs=64 count=512 iflag=fullblock 2>/dev/null >/tmp/random; "
                     "cut -d' ' -f1 /proc/uptime; wc -c </tmp/random; gzip -c </tmp/random | wc -c", 120)
    begin, end, size, packed = said.split()
    expect(size == "32768" and int(packed) >= 32768, f"32 KiB of /dev/hwrng: {said}")
    expect(1.0 <= float(end) - float(begin) < 30, f"they took {float(end) - float(begin):.2f} s")
    said = shell.run("grep virtio0-input /proc/interrupts")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+PCI-MSI\s", said, "/proc/interrupts")
    expect(int(count[1]) > 100, f"it had no interrupts:\n{said}")


@scenario(bound=200, soak=True)
def rng_linux_reloaded(lab):
    """Its state is saved, wiped and reloaded at random exits while it is used; and on a processor without RDRAND the log says
    what its numbers are worth."""
    config = host(without="vid", test_reload=50) + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"),
                                                         initrd=initrd(lab, modules=MODULES + RNG_MODULES), rng="yes")
    m = lab.boot(config, memory=512)
    shell = Shell(m)
    load_modules(shell, MODULES + RNG_MODULES)
    said = shell.run("dd if=/dev/hwrng bs=64 count=64 iflag=fullblock 2>/dev/null | wc -c", 120)
    expect(said.strip() == "4096", f"4 KiB of /dev/hwrng: {said}")
    rdrand = "rdrand" in shell.run("grep -m1 flags /proc/cpuinfo")
    shell.poweroff()
    wait_for_power_off(m)
    text = "\n".join(corbel_lines(m.text()))
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", text)
    expect(rdrand != bool(re.search(r"debian: rng: this processor has no RDRAND", text)), "what the log says of RDRAND")
