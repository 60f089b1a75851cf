"""Kernels that Corbel was not built with: Linux 6.1 to 7.3, with 1 and 4 vCPUs, each on three processors: to a shell, the
same dmesg as without Corbel but for the lines in docs/GUESTS.md, idle when there is nothing to do. `make newest` fetches
them, `make test-newest` runs these."""
import os
import re
import shutil
import subprocess
import time

from bochs3 import bochs_3
from harness import (BUILD, COMMAND, IDLE, NO_VID, PATIENCE, TOP, Failure, Shell, Skip, expect, expect_in, host, linux,
                     scenario, vm, wait_for_power_off)
from monitor import Monitor

GUESTS = os.path.join(TOP, "docs", "GUESTS.md")
BIOS = "/usr/share/bochs/BIOS-bochs-latest"
KERNELS = ("6.1", "6.12", "7.2", "7.3")
SLOW = 3  # newer kernels do more
IDLE_SECONDS = 300  # of the guest's, in which it is to do nothing: `stats` shows whole ones


def newest(name):
    path = os.path.join(BUILD, "newest", name)
    if not os.path.exists(path):
        raise Skip(f"build/newest/{name} is not here: make newest")
    return path


# --- dmesg, with Corbel and without ---


def rows():
    """docs/GUESTS.md: [(only in, line)]."""
    found, table = [], False
    with open(GUESTS, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]] if line.startswith("|") else None
            if cells == ["only in", "line", "reason"]:
                table = True
            elif not cells:
                table = False
            elif table and not cells[0].startswith("---"):
                found += [(cells[0], what.replace("\\|", "|")) for what in re.findall(r"`([^`]+)`", cells[1])]
    expect(found, "docs/GUESTS.md has no table")
    return found


def known(line, where, table):
    """An ellipsis stands for anything."""
    return any(side == where and re.fullmatch(".*".join(map(re.escape, what.split("…"))), line) for side, what in table)


def lines_of(shell):
    """dmesg without its times."""
    said = shell.run("dmesg", bound=4 * COMMAND)
    return [re.sub(r"^\[ *\d+\.\d+\] ", "", line).rstrip() for line in said.splitlines()]


def shape(line):
    """What of a line is the same in each boot: its numbers are not."""
    return re.sub(r"-?(?:0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+)", "#", line)


def odd_lines(vm, bare):
    """The lines that only one of the two has and docs/GUESTS.md does not list."""
    table = rows()
    shapes = {where: {shape(line) for line in lines} for where, lines in (("VM", vm), ("Bochs", bare))}
    odd = []
    for where, other, lines in (("VM", "Bochs", vm), ("Bochs", "VM", bare)):
        for line in lines:
            text = f"{where}: {line}"
            if shape(line) not in shapes[other] and not known(line, where, table) and text not in odd:
                odd.append(text)
    return odd


def bare_disk(lab, kernel):
    """A CD from which the legacy BIOS starts the same kernel with the same initramfs and command line."""
    cd, out = lab.path("cd"), lab.path("bare.iso")
    os.makedirs(cd)
    for source in ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32", lab.default("initrd")):
        shutil.copy(source, cd)
    shutil.copy(kernel, os.path.join(cd, "vmlinuz"))
    with open(os.path.join(cd, "isolinux.cfg"), "w", encoding="ascii") as f:
        f.write(f"default bare\nprompt 0\nlabel bare\nkernel vmlinuz\ninitrd initrd\nappend {IDLE}\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", out, "-b", "isolinux.bin", "-no-emul-boot",
                    "-boot-load-size", "4", "-boot-info-table", cd], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def bare_dmesg(lab, kernel, **hardware):
    """What the kernel says on the emulated PC itself."""
    m = lab.start(bare_disk(lab, kernel), memory=256, firmware=[BIOS],
                  replace={"ata0-master": "ata0-master: type=cdrom, path=disk.img, status=inserted", "boot": "boot: cdrom"},
                  **hardware)
    said = lines_of(Shell(m))
    m.kill()
    return said


# --- idle ---


def time_of(p, name):
    """Seconds since the VM's start, and of those halted, all vCPUs together as one."""
    said = p.run(f"stats {name}")
    up = expect_in(rf"^{name}: up ([\d:.]+)", said, "stats")[1]
    halted = float(expect_in(r"halted (\d+\.\d) %", said, "stats")[1])
    seconds = 0.0
    for part in up.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds, seconds * halted / 100


def check_idle(m, name):
    """With nothing to do, its vCPUs are halted for more than 99 % of the time."""
    p = Monitor(m)
    p.enter()
    began, halted = time_of(p, name)
    until = time.monotonic() + 120 * PATIENCE
    while True:
        now, halted_now = time_of(p, name)
        if now - began >= IDLE_SECONDS:
            break
        expect(time.monotonic() < until, f"{name}'s clock went on by only {now - began:.1f} s")
        time.sleep(1)
    share = 100 * (halted_now - halted) / (now - began)
    expect(share > 99, f"{name} was halted for {share:.2f} % of {now - began:.0f} idle seconds")
    m.send("\x1d")
    m.read_until(rb"corbel:[^ ]*# ", COMMAND * PATIENCE)
    return share


@scenario(bound=200)
def idle(lab):
    """The kernel of this Debian has nothing to do, and does nothing."""
    m = lab.boot(NO_VID + linux(cmdline=IDLE, memory="128M"), memory=512)
    shell = Shell(m)
    check_idle(m, "linux")
    shell.poweroff()
    expect(m.wait(COMMAND * PATIENCE), "the machine did not switch itself off")


# --- the matrix ---

# Virtual-interrupt delivery of every Bochs has a fault that stops Linux 7.x for good: see docs/CAVEATS.md.
MACHINES = {
    "ivy_bridge": ({}, {"model": "corei7_ivy_bridge_3770k"}),
    "haswell": ({"without": "vid"}, {"model": "corei7_haswell_4770"}),
    "skylake_x_bochs3": ({"without": "vid"}, {"model": "corei7_skylake_x", "bochs": None}),
}


def on(version, machine):
    def run(lab):
        keys, hardware = MACHINES[machine]
        hardware = {k: v or bochs_3() for k, v in hardware.items()}
        kernel = newest(f"vmlinuz-{version}")
        bare = bare_dmesg(lab, kernel, **hardware)
        lab.file("bare.txt", "\n".join(bare))
        m = lab.boot(host(start="in-turn", **keys) + linux("one", kernel=kernel, cmdline=IDLE, memory="256M") +
                     linux("four", kernel=kernel, cmdline=IDLE, memory="256M", cpus=4), memory=640, **hardware)
        for name in ("one", "four"):
            if name == "four":  # whoever has once been at the prompt is there again when a VM ends
                m.send("console four\r")
            shell = Shell(m, SLOW)
            said = lines_of(shell)
            lab.file(f"{name}.txt", "\n".join(said))
            odd = odd_lines(said, bare)
            cpus = shell.run("nproc").strip()
            lab.verdict(f"Linux {version} on {machine}: {cpus} vCPU: a shell")
            lab.verdict(f"Linux {version} on {machine}: {cpus} vCPU: dmesg", "\n".join(odd) or None)
            try:
                check_idle(m, name)
                lab.verdict(f"Linux {version} on {machine}: {cpus} vCPU: idle")
            except Failure as e:
                lab.verdict(f"Linux {version} on {machine}: {cpus} vCPU: idle", str(e))
            shell.poweroff()
        expect(m.wait(COMMAND * PATIENCE), "the machine did not switch itself off")
    run.__doc__ = f"Debian's Linux {version} with 1 and 4 vCPUs on {machine}"
    return run


for _version in KERNELS:
    for _machine in MACHINES:
        scenario(bound=600, apart=True, name=f"newest_{_version}_{_machine}")(on(_version, _machine))


# --- others than Linux ---


@scenario(bound=900, apart=True)
def newest_memtest(lab):
    """Memtest86+ tests 8 MiB with 2 vCPUs for a whole pass, without an error."""
    # Its last test waits for two times 80 s, busily: on a slow clock that is fewer instructions.
    m = lab.boot(host(without="vid") + vm("memtest", newest("memtest"), cmdline="console=ttyS0,115200", memory="8M", cpus=2),
                 ips=25_000_000)
    m.read_until(rb"Pass:? *1\b|PASS", 800 * PATIENCE)
    text = m.text()
    expect(not re.search(r"Errors:? *[1-9]|FAIL", text), text[-3000:])
    m.kill()


@scenario(bound=600, apart=True)
def newest_xen(lab):
    """Xen 4.20 by Multiboot, and on it Debian's generic kernel as its dom0, to a shell on Xen's console."""
    config = (host(without="vid") +
              vm("xen", newest("xen"), cmdline="console=com1 com1=115200 dom0_mem=384M", memory="640M") +
              f"module = {newest('vmlinuz-generic-7.2')} console=hvc0 quiet cryptomgr.notests=1\n"
              f"module = {lab.default('initrd')}\n")
    m = lab.boot(config, memory=1024, model="corei7_ivy_bridge_3770k", bochs=bochs_3())
    shell = Shell(m, SLOW)
    said = shell.run("cat /sys/class/tty/console/active")  # a longer command would be broken into two lines
    expect(said.split()[-1:] == ["hvc0"], f"its consoles are {said}")
    said = shell.run("cat /sys/hypervisor/type")
    expect(said.strip() == "xen", f"its hypervisor is {said}")
    m.type("poweroff\n")
    wait_for_power_off(m)
