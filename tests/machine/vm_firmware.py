"""VMs that start as a PC does, by firmware: Debian's SeaBIOS and OVMF, from disks of theirs."""
import os
import subprocess
from collections import Counter

import grub
from harness import BOOT, COMMAND, FIRMWARE, NO_VID, PATIENCE, Shell, expect, expect_in, host, scenario, vm, wait_for_power_off
from monitor import PROMPT, Monitor


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


def bootable(lab, name, says):
    """A disk's file that says this, of 16 characters, when it is started."""
    with open(lab.guest("disk_sector"), "rb") as f:
        sector = f.read().replace(b"PASS disk_sector", says.encode()).replace(b"FAIL disk_sector", says.encode())
    lab.file(name, sector + bytes(1 << 20))
    return sector


def bootable_cd(lab, name, sector):
    """The same as a disc: its first 2 KiB, by El Torito."""
    os.makedirs(lab.path("disc"))
    lab.file("disc/boot", sector)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", lab.path(name), "-b", "boot", "-no-emul-boot",
                    "-boot-load-size", "4", lab.path("disc")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@scenario(bound=2 * BOOT)
def bios_boot_order(lab):
    """SeaBIOS starts what `boot` says first, of disks what the first line has; once what the monitor says."""
    bootable(lab, "a.img", "this is disk a! ")
    bootable(lab, "b.img", "this is disk b! ")
    bootable_cd(lab, "cd.iso", bootable(lab, "cd.img", "this is the cd! "))
    a, b = "disk = ram:a.img,bus=virtio\n", "disk = ram:b.img,bus=ahci\n"
    config = host(attach="monitor")
    config += firmware_vm("ab", "bios", memory="64M", boot="disk", autostart="no") + a + b
    config += firmware_vm("ba", "bios", memory="64M", boot="disk", autostart="no") + b + a
    config += firmware_vm("pc", "bios", memory="64M", boot="net, disk", autostart="no", cdrom="cd.iso") + b
    m = lab.boot(config, memory=512)
    m.read_until(PROMPT, FIRMWARE * PATIENCE)
    p = Monitor(m)
    starts = Counter()
    for vm_name, order, says in (("ab", None, "disk a"), ("ba", None, "disk b"), ("pc", None, "disk b"), ("pc", "cd", "the cd"),
                                 ("pc", None, "disk b")):
        if order:
            expect_in(rf"^{vm_name}: its next start or reset is with boot = {order}, once$", p.run(f"boot {vm_name} {order}"), "boot")
        m.send(f"start {vm_name}\r")
        m.read_until(rf"corbel: {vm_name}: ended after".encode(), COMMAND * PATIENCE)
        m.send(f"console {vm_name}\r")
        m.read_until(rf"corbel: console of {vm_name}".encode(), COMMAND * PATIENCE)
        starts[vm_name] += 1
        for _ in range(starts[vm_name]):  # what it said before is shown again
            said = m.read_until(rb"this is (disk a|disk b|the cd)!", COMMAND * PATIENCE)[1].decode()
        expect(said == says, f"{vm_name} started from {said}, not {says}")
        p.enter()
    m.send("poweroff\r")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


STATE = "[disk state]\nsize = 4M\n"


def power_on(lab, image, **options):
    return lab.start(image, in_place=True, **options)


def counter_starts(lab, image, count, found):
    """The machine is switched on: the firmware has been started so often before, and variables of so many VMs are there."""
    m = power_on(lab, image, memory=256)
    wait_for_power_off(m)
    expect_in(rf"^corbel: state: part:state on ata0, with variables of {found}; \d+ of 4096 KiB are free$", m.text())
    expect_in(rf"flash_counter: start {count}\r?$", m.text())


@scenario(bound=3 * BOOT)
def state_partition(lab):
    """What firmware leaves in its flash chip is there when the machine is switched on again, until it is forgotten; nobody
    else gets the partition in which it is."""
    counter = firmware_vm("counter", lab.guest("flash_counter"), memory="16M")
    image = lab.image(host(state="part:state") + counter + STATE)
    counter_starts(lab, image, 0, "0 VMs")
    counter_starts(lab, image, 1, "1 VM")
    other = vm("other", lab.guest("cpuid_signature"), memory="16M", autostart="no", disk="part:state,ro")
    lab.image(host(state="part:state", attach="monitor") + counter + "autostart = no\n" + other + STATE, out=image)
    m = power_on(lab, image, memory=256)
    m.read_until(PROMPT, FIRMWARE * PATIENCE)
    p = Monitor(m)
    expect_in(r"^other does not start: the log says why$", p.run("start other"), "start other")
    m.read_until(rb"\[vm other\]: disk = part:state: Corbel keeps its own things there: `state` in \[host\] names it\r\n",
                 COMMAND * PATIENCE)
    expect_in(r"^ +2 +state +4M +Corbel: `state` in \[host\]$", p.run("disks"), "disks")
    expect_in(r"^  counter +4 KiB$", p.run("variables"), "variables")
    expect_in(r"^other has no variables there$", p.run("variables other forget"), "variables")
    expect_in(r"^counter: its variables are forgotten$", p.run("variables counter forget"), "variables")
    expect_in(r"^no VM's firmware has left variables there$", p.run("variables"), "variables")
    m.send("start counter\r")
    m.read_until(rb"corbel: counter: ended after", COMMAND * PATIENCE)
    m.send("console counter\r")
    m.read_until(rb"flash_counter: start 0", COMMAND * PATIENCE)
    p.enter()
    m.send("poweroff\r")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")  # lines of Corbel stand behind the prompt
    counter_starts(lab, lab.image(host(state="part:state") + counter + STATE, out=image), 1, "1 VM")


def uefi_shell_prompt(m):
    m.read_until(rb"Shell> ", 3 * BOOT * PATIENCE)


# Among the variables that UEFI names nobody may invent one.
SETVAR = "setvar Corbel -guid 2f6b2a4e-5a0c-4c0e-9d53-6c1f7ab0e2d4"


def expect_variable(m):
    m.send(f"{SETVAR}\r")
    m.read_until(rb"(?i)Corbel - 0*2 Bytes\s+A5 ?A5", BOOT * PATIENCE)


@scenario(bound=5 * BOOT, slow=True)
def uefi_variables(lab):
    """A variable that is set in OVMF's shell is there when the machine has been off."""
    image = lab.image(host(without="vid", state="part:state") + firmware_vm("pc", "uefi", memory="256M") + STATE)
    m = power_on(lab, image, memory=512)
    uefi_shell_prompt(m)
    m.send(f"{SETVAR} -bs -rt -nv =0xA5A5\r")
    uefi_shell_prompt(m)
    expect_variable(m)
    m.send("reset -s\r")
    wait_for_power_off(m)
    m = power_on(lab, image, memory=512)
    uefi_shell_prompt(m)
    expect_variable(m)
    m.send("reset -s\r")
    wait_for_power_off(m)
    expect_in(r"^corbel: state: part:state on ata0, with variables of 1 VM; ", m.text())


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
