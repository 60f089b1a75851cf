"""VMs that start as a PC does, by firmware: Debian's SeaBIOS and OVMF, from disks of theirs."""
import grub
from harness import BOOT, NO_VID, PATIENCE, Shell, expect, expect_in, host, scenario, wait_for_power_off


def firmware_vm(name, firmware, **keys):
    return f"[vm {name}]\nfirmware = {firmware}\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def boot_sector(lab, bus):
    """SeaBIOS boots a disk's sector, which asks its services and powers the machine off."""
    with open(lab.guest("disk_sector"), "rb") as f:
        lab.file("disk.img", f.read() + bytes(1 << 20))
    m = lab.boot(host() + firmware_vm("pc", "bios", memory="64M", cpus=2, disk=f"ram:disk.img,bus={bus}"), memory=512)
    wait_for_power_off(m)
    expect_in(r"^corbel: pc: starts with 64 MiB and 2 vCPUs; its firmware is bios-256k\.bin", m.text())
    expect_in(r"corbel: pc: debug console: Running on QEMU \(q35\)", m.text(), "SeaBIOS's debug port")
    expect_in(r"PASS disk_sector\r?$", m.text())  # behind what SeaBIOS says


@scenario(bound=BOOT)
def bios_virtio(lab):
    """SeaBIOS boots from a virtio disk."""
    boot_sector(lab, "virtio")


@scenario(bound=BOOT, slow=True)
def bios_ide(lab):
    """SeaBIOS boots from an IDE disk."""
    boot_sector(lab, "ide")


@scenario(bound=BOOT, slow=True)
def bios_ahci(lab):
    """SeaBIOS boots from an AHCI disk."""
    boot_sector(lab, "ahci")


@scenario(bound=2 * BOOT, slow=True)
def uefi_shell(lab):
    """OVMF has its shell on COM1, finds the disk, and switches the VM off."""
    lab.file("disk.img", bytes(1 << 20))
    m = lab.boot(NO_VID + firmware_vm("pc", "uefi", memory="256M", disk="ram:disk.img"), memory=512)
    m.read_until(rb"BLK0:", 2 * BOOT * PATIENCE)
    m.read_until(rb"Shell> ", BOOT * PATIENCE)
    m.send("reset -s\r")
    wait_for_power_off(m)
    expect_in(r"corbel: pc: ended after \S+ s: ACPI S5", m.text())


CMDLINE = "console=ttyS0,115200 cryptomgr.notests=1"


def by_grub(lab, firmware, disk, bus):
    """Firmware, GRUB, Linux to its shell: an installed system's way. The machine, and the shell."""
    config = firmware_vm("pc", firmware, memory="256M", disk=f"part:pc,bus={bus}") + f"[disk pc]\nfrom = {disk}\n"
    m = lab.boot(NO_VID + config, memory=512)
    m.read_until(rb"GRUB starts Linux", 2 * BOOT * PATIENCE)
    shell = Shell(m, slow=3)
    expect_in(r"BOOT_IMAGE=/vmlinuz ", shell.run("cat /proc/cmdline"), "who started the kernel")
    return m, shell


@scenario(bound=4 * BOOT, slow=True)
def bios_grub(lab):
    """SeaBIOS, GRUB and Linux from a virtio disk; a reboot goes the same way, a power-off ends the VM."""
    m, shell = by_grub(lab, "bios", grub.bios_disk(lab, CMDLINE), "virtio")
    expect("No such file" in shell.run("ls /sys/firmware/efi"), "this is no UEFI system")
    m.send("reboot -f\n")
    m.read_until(rb"GRUB starts Linux", 2 * BOOT * PATIENCE)
    Shell(m, slow=3)
    m.send("poweroff -f\n")
    wait_for_power_off(m)


@scenario(bound=6 * BOOT, slow=True)
def uefi_grub(lab):
    """OVMF, GRUB and Linux from an AHCI disk: the kernel uses what firmware serves at run time."""
    m, shell = by_grub(lab, "uefi", grub.uefi_disk(lab, CMDLINE), "ahci")
    expect_in(r"efi: EFI v2\.\d+ by .*", shell.run("dmesg | grep 'efi: EFI'"), "UEFI")
    expect_in(r"^64$", shell.run("cat /sys/firmware/efi/fw_platform_size"), "UEFI")
    m.send("poweroff -f\n")
    wait_for_power_off(m)
