"""VMs with IDE disks: Debian's kernel with its own libata and ata_piix."""
import hashlib
import os
import subprocess

from harness import BOOT, NO_VID, PATIENCE, TOP, Shell, corbel_lines, expect, expect_in, host, linux, scenario, wait_for_power_off
from vm_disks import FOLDER, SECTORS, disk_file, first_sha

MODULES = ("scsi_common", "scsi_mod", "sd_mod", "cdrom", "sr_mod", "isofs", "libata", "ata_piix")
FILL = ("mke2fs -F /dev/sda >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/sda /mnt && "
        "dd if=/dev/urandom of=/mnt/file bs=64k count={0} 2>/dev/null && sync && sha256sum </mnt/file")
AGAIN = ("umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/sda /mnt && sha256sum </mnt/file && "
         "umount /mnt && blockdev --flushbufs /dev/sda && echo flushed")


def initrd(lab):
    out = lab.path("initrd")
    files = [f"modules/{m}.ko={os.path.join(FOLDER, 'modules', m + '.ko')}" for m in MODULES]
    subprocess.run([os.path.join(TOP, "tools", "initramfs"), out, *files], check=True, stdout=subprocess.DEVNULL)
    return out


def iso(lab, name, text):
    """An ISO 9660 image with a file of that text and one of random bytes, of which the sum is returned."""
    data = os.urandom(300000)
    folder = os.path.dirname(lab.file(f"{name}.d/text", text))
    lab.file(f"{name}.d/random", data)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", "CORBEL", "-o", lab.path(name), folder], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return hashlib.sha256(data).hexdigest()


def boot(lab, first, *disks, lines=(), libata="", slow=1):
    config = first + linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab))
    m = lab.boot(config + "".join(f"disk = {d}\n" for d in disks) + "".join(f"{line}\n" for line in lines), memory=512)
    shell = Shell(m, slow=slow)
    load_modules(shell, libata)
    return m, shell


def load_modules(shell, libata=""):
    """All of them, libata with its parameters; insmod takes none from the kernel's command line."""
    shell.run("stty columns 400")  # commands are echoed in one piece
    for module in MODULES:
        said = shell.run(f"insmod /modules/{module}.ko {libata if module == 'libata' else ''} && echo loaded")
        expect(said.strip() == "loaded", f"insmod {module}: {said}")
    # libata looks for drives in the background.
    shell.run("for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/sda ] && break; sleep 1; done")


def modes(shell, *devices):
    return shell.run("cd /sys/class/ata_device; cat " + " ".join(f"{d}/xfer_mode" for d in devices) + "; cd").split()


def dmesg(shell):
    """What libata says, which has nothing to complain of."""
    said = shell.run("dmesg | grep -iE 'ata[0-9_]|sd[a-d]|i/o error|ext4'")
    wrong = [line for line in said.splitlines() if any(
        word in line.lower() for word in ("error", "exception", "fail", "frozen", "timeout", "not ready", "lost interrupt"))]
    expect(not wrong, "dmesg complains:\n" + "\n".join(wrong))
    return said


@scenario(bound=300, slow=True)
def disk_ide(lab):
    """Two disks at IDE, by DMA: what a file holds, mkfs, mount as ext4, files written, flushed, read back; the second cannot
    be written; a reset keeps what was written."""
    data = disk_file(lab)
    lab.file("readonly.img", b"corbel " * 1000)
    m, shell = boot(lab, NO_VID, "ram:scratch.img,serial=A-Disk-1,bus=ide", "ram:readonly.img,ro,bus=ide")
    expect(shell.run("cat /sys/block/sda/size").strip() == str(SECTORS), "its size")
    said = dmesg(shell)
    expect_in(r"ata1\.00: ATA-7: Corbel disk, 1\.0, max MWDMA2", said, "dmesg")
    expect(modes(shell, "dev1.0", "dev1.1") == 2 * ["XFER_MW_DMA_2"], "transfer modes")
    said = shell.run("dd if=/dev/sda bs=1M count=16 2>/dev/null | sha256sum").split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    written = expect_in(r"^([0-9a-f]{64})", shell.run(FILL.format(80), 120), "mkfs, mount, write")[1]
    said = shell.run(AGAIN, 120)
    expect(said.startswith(written) and "flushed" in said, f"what was read back is not what was written:\n{said}")
    said = shell.run("grep ata_piix /proc/interrupts")
    expect(int(expect_in(r"^\s*14:\s+(\d+)", said, "/proc/interrupts")[1]) > 0, f"no interrupts:\n{said}")
    dmesg(shell)
    said = shell.run("dd if=/dev/zero of=/dev/sdb bs=512 count=1 conv=fsync 2>&1; dd if=/dev/sdb bs=7000 count=1 2>/dev/null | cmp -n 7000 - "
                     "/dev/sdb && head -c 14 /dev/sdb")
    expect_in(r"(?i)input/output error", said, "writing to the read-only disk")
    expect("corbel corbel " in said, f"the read-only disk:\n{said}")
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    shell = Shell(m)
    load_modules(shell)
    said = shell.run("mkdir -p /mnt && mount -t ext4 /dev/sda /mnt && sha256sum </mnt/file && umount /mnt")
    expect(said.startswith(written), f"after a reset the disk holds something else:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)


@scenario(bound=300, soak=True)
def disk_ide_pio(lab):
    """The same without DMA: each sector through the data register."""
    data = disk_file(lab)
    m, shell = boot(lab, NO_VID, "ram:scratch.img,bus=ide", libata="dma=0", slow=2)
    dmesg(shell)
    expect(modes(shell, "dev1.0") == ["XFER_PIO_4"], "transfer mode")
    said = shell.run("dd if=/dev/sda bs=64k count=64 2>/dev/null | sha256sum", 120).split()[0]
    expect(said == first_sha(data, 4), "the disk does not hold the file")
    written = expect_in(r"^([0-9a-f]{64})", shell.run(FILL.format(20), 120), "mkfs, mount, write")[1]
    expect(shell.run(AGAIN, 120).startswith(written), "what was read back is not what was written")
    dmesg(shell)
    shell.poweroff()
    wait_for_power_off(m)


@scenario(bound=300, soak=True)
def disk_ide_reloaded(lab):
    """The controller's state is saved, wiped and reloaded at random exits, while its disk is used."""
    data = disk_file(lab)
    m, shell = boot(lab, host(without="vid", test_reload=50), "ram:scratch.img,bus=ide")
    said = shell.run("dd if=/dev/sda bs=1M count=16 2>/dev/null | sha256sum", 120).split()[0]
    expect(said == first_sha(data, 16), "the disk does not hold the file")
    written = expect_in(r"^([0-9a-f]{64})", shell.run(FILL.format(20), 120), "mkfs, mount, write")[1]
    expect(shell.run(AGAIN, 120).startswith(written), "what was read back is not what was written")
    dmesg(shell)
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", "\n".join(corbel_lines(m.text())))


MOUNT = "mkdir -p /cd && mount -t iso9660 /dev/sr0 /cd && cat /cd/text && sha256sum </cd/random && umount /cd"


def look_for_disc(shell):
    shell.run("for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/sr0 ] && break; sleep 1; done")


@scenario(bound=300, slow=True)
def cdrom(lab):
    """A disk and a CD-ROM drive: an ISO 9660 is mounted and read; the monitor takes the disc out, in spite of a mounted one
    if it is told to, and puts another one in, which the guest notices."""
    first, second = iso(lab, "first.iso", "the first\n"), iso(lab, "second.iso", "the second\n")
    disk_file(lab)
    m, shell = boot(lab, NO_VID, "ram:scratch.img,bus=ide", lines=("cdrom = first.iso", "cdrom = second.iso"))
    look_for_disc(shell)
    said = dmesg(shell)
    expect_in(r"ata2\.00: ATAPI: Corbel CD-ROM, 1\.0, max MWDMA2", said, "dmesg")
    expect(modes(shell, "dev2.0", "dev2.1") == 2 * ["XFER_MW_DMA_2"], "transfer modes")
    said = shell.run(MOUNT, 120)
    expect("the first" in said and first in said, f"the first disc:\n{said}")
    said = shell.run(MOUNT.replace("sr0", "sr1"), 120)
    expect("the second" in said and second in said, f"the second drive:\n{said}")
    shell.run("mount -t iso9660 /dev/sr0 /cd")
    m.type("\x1d")
    for command, answer in (("eject debian", r"debian: the guest has locked the tray"), ("eject debian now", r"debian: the tray is open"),
                            ("insert debian second.iso", r"debian: the tray is closed"), ("eject", r"eject")):
        m.read_until(r"corbel> ", 30 * PATIENCE)
        m.type(command + "\n")
        m.read_until(answer, 30 * PATIENCE)
    m.type("\x1d")
    shell.run("umount /cd")
    said = shell.run(MOUNT, 120)
    expect("the second" in said and second in said, f"the other disc:\n{said}")
    shell.poweroff()  # the prompt comes, above which Corbel's lines stand from now on
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


@scenario(bound=300, soak=True)
def cdrom_reloaded(lab):
    """The drive's state is saved, wiped and reloaded at random exits, while a disc is read."""
    first = iso(lab, "first.iso", "the first\n")
    m, shell = boot(lab, host(without="vid", test_reload=50), lines=("cdrom = first.iso",))
    look_for_disc(shell)
    for _ in range(3):
        said = shell.run(MOUNT + " && echo 3 >/proc/sys/vm/drop_caches", 120)
        expect("the first" in said and first in said, f"the disc:\n{said}")
    shell.poweroff()
    wait_for_power_off(m)
    expect_in(r"^  state saved, wiped and reloaded \d{2,} times", "\n".join(corbel_lines(m.text())))
