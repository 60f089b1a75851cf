"""Disks from which Debian's GRUB starts a kernel, by BIOS or by UEFI: made without root, of the packages' own files."""
import os
import subprocess

from harness import Failure

SECTOR = 512
GRUB = "/usr/lib/grub"
FIRST = 2048  # of the partition with the files; GRUB's core lies before it on a PC's disk
MENU = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry corbel {{
    echo GRUB starts Linux
    linux /vmlinuz {cmdline}
    initrd /initrd
}}
"""


def run(*command):
    p = subprocess.run(command, env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"), stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if p.returncode:
        raise Failure(f"{command[0]}: {p.stdout.decode(errors='replace')}")


def fill(path, contents):
    """Make a FAT file system in the partition, with these files: {path there: file}."""
    partition = f"{path}@@{FIRST * SECTOR}"
    sectors = os.path.getsize(path) // SECTOR - 2 * FIRST
    run("mformat", "-i", partition, "-F", "-T", str(sectors), "-h", "255", "-s", "63", "-H", str(FIRST), "::")
    for folder in ("EFI", "EFI/BOOT", "EFI/debian", "grub"):
        run("mmd", "-i", partition, f"::/{folder}")
    for there, source in contents.items():
        run("mcopy", "-i", partition, source, f"::/{there}")


def kernel(lab, cmdline, menu):
    """What both have in the partition; menu: where GRUB looks for its own."""
    return {"vmlinuz": lab.default("vmlinuz"), "initrd": lab.default("initrd"),
            menu: lab.file("grub.cfg", MENU.format(cmdline=cmdline))}


def disk(lab, name, mib=64):
    path = lab.file(name)
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def bios_disk(lab, cmdline, name="bios.img"):
    """With a master boot record: boot.img, and behind it the core, which finds the rest on the first partition."""
    path, core = disk(lab, name), lab.path("core.img")
    run("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(hd0,msdos1)/grub", "-d", f"{GRUB}/i386-pc", "biosdisk", "part_msdos",
        "fat", "normal", "configfile", "linux", "serial", "terminal", "echo", "sleep", "test")
    with open(f"{GRUB}/i386-pc/boot.img", "rb") as f:
        boot = bytearray(f.read())
    entry = bytes([0x80, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff])  # active, FAT32, by LBA
    sectors = os.path.getsize(path) // SECTOR - 2 * FIRST
    table = entry + FIRST.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    boot[446:] = table + bytes(48) + b"\x55\xaa"  # boot.img has a floppy's code there
    with open(core, "rb") as f, open(path, "r+b") as out:
        out.write(boot + f.read())
        if out.tell() > FIRST * SECTOR:
            raise Failure("GRUB's core does not fit")
    fill(path, kernel(lab, cmdline, "grub/grub.cfg"))
    return path


def uefi_disk(lab, cmdline, name="uefi.img"):
    """With an EFI system partition: GRUB where firmware looks for what boots a disk that it does not know."""
    path = disk(lab, name)
    run("sgdisk", "--clear", f"--new=1:{FIRST}:{os.path.getsize(path) // SECTOR - FIRST - 1}", "--typecode=1:ef00", path)
    fill(path, {"EFI/BOOT/BOOTX64.EFI": f"{GRUB}/x86_64-efi/monolithic/grubx64.efi",
                **kernel(lab, cmdline, "EFI/debian/grub.cfg")})
    return path
