"""A VM whose root file system is a partition of the machine's disk: Debian 13 as debootstrap makes it, with systemd."""
import os

from check import report
from harness import BOOT, BUILD, NO_VID, PATIENCE, Shell, expect, expect_in, host, linux, scenario, wait_for_power_off
from vm_disks import WRITE, file_system, sha_in

ROOT = os.path.join(BUILD, "debian-13")  # by tools/debian-root


def image_with_root(lab, bus, host_section=NO_VID):
    config = linux("debian", kernel=os.path.join(ROOT, "vmlinuz"), initrd=os.path.join(ROOT, "initrd"), memory="512M",
                   cmdline="console=ttyS0 quiet root=LABEL=trixie cryptomgr.notests=1", disk=f"part:root,bus={bus}")
    return lab.image(host_section + config + f"[disk root]\nfrom = {ROOT}/root.img\n")


def log_in(lab, image):
    """On the console, as root. Then nothing that systemd has started has failed, and the kernel has no complaint."""
    m = lab.start(image, memory=1024, in_place=True)
    m.read_until(rb"^trixie login: ", 8 * BOOT * PATIENCE)
    m.type("root\n")
    m.read_until(rb"root@trixie:~# ", BOOT * PATIENCE)
    m.type("exec env PS1='corbel:/# ' sh -i\n\n")  # the second prompt stands at a line's begin
    shell = Shell(m)
    shell.run("stty columns 400")
    said = shell.run("systemctl --failed --no-legend --plain; findmnt -no SOURCE,FSTYPE,OPTIONS /", 60)
    expect_in(r"^/dev/\S+ +ext4 +rw,", said, "the root")
    expect(len(said.strip().split("\n")) == 1, f"systemd has units that failed:\n{said}")
    said = shell.run("dmesg --level=emerg,alert,crit,err", 60)
    expect("ext4" not in said.lower() and "i/o error" not in said.lower(), f"dmesg complains:\n{said}")
    return m, shell


def root_on(lab, bus, *devices):
    """It boots, writes, and its power is cut; it comes back with what was written and synced, and powers off; its file system
    has no fault then."""
    image = image_with_root(lab, bus)
    m, shell = log_in(lab, image)
    expect(shell.run("findmnt -no SOURCE /", 60).strip() in devices, "what the root is on")
    first = expect_in(r"^([0-9a-f]{64})", shell.run(WRITE.format("first", 50), 120), "write")[1]
    m.kill()  # the power is cut
    m, shell = log_in(lab, image)
    said = shell.run("sha256sum </mnt/first", 60)
    expect(said.startswith(first), f"what was synced is not there:\n{said}")
    second = expect_in(r"^([0-9a-f]{64})", shell.run(WRITE.format("second", 20), 120), "write")[1]
    m.type("systemctl poweroff\n")
    wait_for_power_off(m)
    path = file_system(lab, image, "root", "-n")
    expect((sha_in(path, "mnt/first"), sha_in(path, "mnt/second")) == (first, second), "from outside the files are others")


@scenario(bound=1500, apart=True)
def debian13_root_virtio(lab):
    root_on(lab, "virtio", "/dev/vda")


@scenario(bound=1500, apart=True)
def debian13_root_ide(lab):
    root_on(lab, "ide", "/dev/sda")


@scenario(bound=1500, apart=True)
def debian13_root_ahci(lab):
    root_on(lab, "ahci", "/dev/sda")


@scenario(bound=1500, apart=True)
def debian13_root_nvme(lab):
    root_on(lab, "nvme", "/dev/nvme0n1")


def read_by(lab, name, how, *device):
    """The same image as the machine's only disk, by another of the host's drivers: firmware and Corbel start from it, its
    partitions are listed, and all of it can be read."""
    image = image_with_root(lab, "virtio", host(mode="check", check_disks="read"))
    report(lab, image, kind="qemu", model="Nehalem,-vmx", in_place=True, boot=["-device", *device])
    text = lab.machines[-1].text()
    size = os.path.getsize(image) >> 20
    expect_in(rf"^corbel: disk {name}: {size} MiB, .*{how}, with interrupts", text)
    expect_in(r"^corbel:   1 'Corbel' .*, an EFI system partition$", text)
    expect_in(rf"^corbel:   2 'root' {os.path.getsize(os.path.join(ROOT, 'root.img')) >> 20} MiB from ", text)
    expect_in(rf"^corbel: disk {name}: read {size} MiB in ", text)
    expect_in(rf"^corbel: disk {name}: 0 errors, 0 retries, 0 resets; [1-9]", text)


@scenario(bound=240, apart=True)
def debian13_root_host_ahci(lab):
    read_by(lab, "sata0", "AHCI", "ahci,id=ahci", "-device", "ide-hd,drive=boot,bus=ahci.0")


@scenario(bound=240, apart=True)
def debian13_root_host_nvme(lab):
    read_by(lab, "nvme0n1", "NVMe", "nvme,drive=boot,serial=S7")
