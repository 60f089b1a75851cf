"""Debian's kernels to a shell: what is asked there, and with how much memory."""
import hashlib
import os
import random
import re
import time

from harness import (BOOT, COMMAND, FIRMWARE, NO_VID, PATIENCE, Failure, Shell, check_lines, corbel_lines, expect,
                     expect_in, host, linux, scenario, wait_for_power_off)

# What `dmesg | grep -iE 'bug|warn|error|fail'` may show: each line is one that Bochs shows under its legacy BIOS, too.
DMESG_ALLOWED = (
    # Chipsets before 2008 need a hint; Linux says so on every PC that it does not know better.
    r"PCI: Using host bridge windows from ACPI; if necessary, use \"pci=nocrs\" and report a bug$",
    r"RAS: Correctable Errors collector initialized\.$",
)


def cpio(name, data):
    """An archive of one file, to be appended to an initramfs (Linux, initramfs buffer format: archives may follow)."""

    def entry(inode, path, mode, content):
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path) + 1, 0)
        out = b"070701" + b"".join(b"%08x" % f for f in fields) + path.encode() + b"\0"
        out += b"\0" * (-len(out) % 4)
        return out + content + b"\0" * (-len(content) % 4)

    return entry(1, name, 0o100644, data) + entry(0, "TRAILER!!!", 0, b"")


def random_initrd(lab):
    """The default initramfs with a file of this run, /random, and that file's SHA-256."""
    data = os.urandom(random.randrange(20_000, 60_000))
    with open(lab.default("initrd"), "rb") as f:
        base = f.read()
    base += b"\0" * (-len(base) % 4)
    return lab.file("initrd", base + cpio("random", data)), hashlib.sha256(data).hexdigest()


def prove(shell, digest):
    """A computation that nobody has seen before, and the hash of this run's own file."""
    a, b, c = (random.randrange(10_000, 100_000) for _ in range(3))
    answer = shell.run(f"echo $(({a} * {b} + {c}))").strip()
    expect(answer == str(a * b + c), f"{a} * {b} + {c} is {a * b + c}, and the guest says {answer!r}")
    answer = shell.run("sha256sum /random").split()
    expect(answer == [digest, "/random"], f"the file's hash is {digest}, and the guest says {answer}")


def boot_and_prove(lab, options="", kernel="vmlinuz", machine=512, check=None, hardware=None, **keys):
    """Boot one VM to its shell, prove it, power it off; returns what COM1 has said. machine is the machine's memory in
    MiB, hardware what else it is made of, and keys are the VM's."""
    initrd, digest = random_initrd(lab)
    m = lab.boot(options + linux(kernel=kernel, initrd=initrd, **keys), memory=machine, **(hardware or {}))
    shell = Shell(m)
    prove(shell, digest)
    if check:
        check(shell)
    shell.poweroff()
    wait_for_power_off(m)
    return m.text()


# --- one long look ---


def check_interrupts(text):
    """The timer comes by the local APIC, the UART by the I/O APIC."""
    timer = expect_in(r"^\s*LOC:\s+(\d+)", text, "/proc/interrupts")
    expect(int(timer[1]) > 50, f"only {timer[1]} local timer interrupts:\n{text}")
    uart = expect_in(r"^\s*4:\s+(\d+)\s+(\S+)\s.*ttyS0", text, "/proc/interrupts")
    expect(uart[2] == "IO-APIC", f"ttyS0 is not on the I/O APIC:\n{text}")
    expect(int(uart[1]) > 10, f"ttyS0 had no interrupts:\n{text}")
    expect(not re.search(r"^\s*(MCE|ERR|MIS|SPU):\s+[1-9]", text, re.MULTILINE), f"errors were counted:\n{text}")


def check_time(shell):
    """`sleep 5` takes 5 s by each of the guest's clocks, the RTC's among them, and `date` goes at that rate."""
    rtc = "/sys/class/rtc/rtc0/since_epoch"
    said = shell.run(f"for i in 1 2; do cat /proc/uptime; date +%s; cat {rtc}; [ $i = 1 ] && sleep 5; done")
    try:
        uptime, date, chip, uptime2, date2, chip2 = (float(line.split()[0]) for line in said.splitlines())
    except ValueError:
        raise Failure(f"uptime, date, RTC, uptime, date, RTC: {said}") from None
    expect(5 <= uptime2 - uptime < 5.5, f"sleep 5 took {uptime2 - uptime:.2f} s by /proc/uptime:\n{said}")
    expect(5 <= date2 - date <= 6, f"sleep 5 took {date2 - date:.0f} s by date:\n{said}")
    expect(4 <= chip2 - chip <= 6, f"sleep 5 took {chip2 - chip:.0f} s by the RTC:\n{said}")
    # Bochs is slower than the world, and its RTC shows firmware an hour less than it was told.
    offset = date - time.time()
    expect(abs(offset) < 2 * 3600, f"date is off by {offset:.0f} s")


def check_dmesg(shell):
    said = shell.run("dmesg | grep -iE 'bug|warn|error|fail'")
    odd = [line for line in said.splitlines() if not any(re.search(a, line) for a in DMESG_ALLOWED)]
    expect(not odd, "dmesg shows what the bare machine does not:\n" + "\n".join(odd))


def check_summary(text):
    """One screen: time, exits by reason, memory."""
    expect_in(r"^corbel:   time: ", text, "the summary")
    expect_in(r"^corbel:   memory: \d+ MiB RAM", text, "the summary")
    expect_in(r"^corbel:   VM exits: \d+", text, "the summary")
    expect(len(text.splitlines()) <= 24, f"the summary is longer than a screen:\n{text}")


@scenario(bound=200, row="cloud")
def shell(lab):
    """Cloud kernel: commands, interrupts, time, dmesg; reboot, and all again; poweroff and the summary."""
    initrd, digest = random_initrd(lab)
    m = lab.boot(linux("debian", initrd=initrd), memory=512)
    s = Shell(m)
    prove(s, digest)
    expect_in(r"^Linux corbel 6\.\d+\.\S+-cloud-amd64 .* x86_64", s.run("uname -a"), "uname -a")
    check_interrupts(s.run("cat /proc/interrupts"))
    check_time(s)
    check_dmesg(s)
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    s = Shell(m)
    uptime = float(s.run("cat /proc/uptime").split()[0])
    expect(uptime < 60, f"up for {uptime} s after the reboot")
    prove(s, digest)
    check_summary(s.poweroff())
    wait_for_power_off(m)
    expect_in(r"; 1 restarts$", "\n".join(corbel_lines(m.text())))


# --- memory ---


def check_memory(least, most):
    def check(shell):
        total = int(expect_in(r"^MemTotal:\s+(\d+) kB", shell.run("cat /proc/meminfo"), "/proc/meminfo")[1]) // 1024
        expect(least <= total <= most, f"the guest has {total} MiB, not {least} to {most}")
        # All of it can be used: a file in memory takes most of it, and its end is what was written.
        count = total - 60 if total < 300 else total - 150
        said = shell.run("mount -t tmpfs -o size=95% none /tmp; yes corbel | head -c 700000 > /root/small; "
                         f"dd if=/dev/zero of=/tmp/big bs=1M count={count} 2>/dev/null; cat /root/small >> /tmp/big; "
                         "stat -c %s /tmp/big; tail -c 700000 /tmp/big | cmp - /root/small && echo same; rm /tmp/big",
                         bound=4 * COMMAND)
        expect(said.split() == [str((count << 20) + 700000), "same"], f"a file of {count} MiB: {said}")
    return check


@scenario(bound=90, soak=True)
def memory_128M(lab):
    boot_and_prove(lab, NO_VID, memory="128M", check=check_memory(80, 128))


@scenario(bound=120, soak=True)
def memory_1G(lab):
    boot_and_prove(lab, NO_VID, memory="1G", machine=2048, check=check_memory(900, 1024))


@scenario(bound=90, slow=True)
def low_hole(lab):
    """RAM on both sides of a hole lowered to 128 MiB, all of it in use."""

    def check(shell):
        said = shell.run("grep 'System RAM' /proc/iomem")
        ranges = [(int(a, 16), int(b, 16)) for a, b in re.findall(r"^(\w+)-(\w+) : ", said, re.MULTILINE)]
        below = sum(b + 1 - a for a, b in ranges if b < 1 << 32)
        above = [(a, b + 1) for a, b in ranges if a >= 1 << 32]
        expect(above == [(1 << 32, (1 << 32) + (128 << 20))], f"above 4 GiB there should be 128 MiB:\n{said}")
        expect(120 << 20 <= below <= 128 << 20 and max(b for a, b in ranges if b < 1 << 32) < 128 << 20,
               f"below 4 GiB there should be 128 MiB:\n{said}")
        check_memory(140, 200)(shell)  # Linux keeps 64 MiB to copy what devices of 32 bits read and write above 4 GiB

    boot_and_prove(lab, NO_VID, memory="256M", hole="128M", check=check)


@scenario(bound=120, row="reload")
def reload(lab):
    """Every device's state is saved, wiped and reloaded at random exits of a boot, and the shell answers all the same."""
    text = boot_and_prove(lab, host(test_reload=50), check=lambda s: check_interrupts(s.run("cat /proc/interrupts")))
    count = int(expect_in(r"^corbel:   state saved, wiped and reloaded (\d+) times", text)[1])
    expect(count > 20, f"it was reloaded only {count} times")


# --- the generic kernel ---


@scenario(bound=400, soak=True, row="generic")
def generic_128M(lab):
    """Debian's generic kernel with the least that its header allows, or 128 MiB."""
    boot_and_prove(lab, NO_VID, kernel="vmlinuz-generic", memory="128M")


@scenario(bound=400, processors=True, row="generic")
def generic_256M(lab):
    boot_and_prove(lab, NO_VID, kernel="vmlinuz-generic", memory="256M")


@scenario(bound=400, soak=True, row="generic")
def generic_1G(lab):
    boot_and_prove(lab, NO_VID, kernel="vmlinuz-generic", memory="1G", machine=2048, check=check_memory(850, 1024))


# --- CPUs and features ---

# Each with what Corbel says of itself then, where it has a word for it.
FALLBACKS = {
    "vid": "guest APIC: APIC-register virtualization,", "apicv": "guest APIC: TPR shadow,", "x2apic-virt": "",
    "tpr": "guest APIC: in software,", "preempt": "preemption by APIC timer;", "vpid": "no VPIDs",
    "ept-1g": "EPT leaves up to 2 MiB,", "ept-2m": "EPT leaves up to 4 KiB,", "ept-ad": "", "ins-outs": "",
    "invpcid": "guests have RDTSCP$", "rdtscp": "guests have INVPCID$",
    "xsaves": None,  # hidden in any case, as Bochs 2.7's XSAVEC errs: see bochs3_without_xsaves
}
ALL_FEATURES = "corei7_skylake_x"  # the oldest model that has them
MODELS = ("corei5_arrandale_m520", "corei7_sandy_bridge_2600k", "corei7_ivy_bridge_3770k", "broadwell_ult",
          "corei7_skylake_x", "corei3_cnl", "corei7_icelake_u", "tigerlake")


def without(names, shows):
    def run(lab):
        text = boot_and_prove(lab, host(without=names), hardware={"model": ALL_FEATURES},
                              check=lambda s: check_interrupts(s.run("cat /proc/interrupts")))
        expect_in(f"^corbel: vmx: .*{shows}", text)
    run.__doc__ = f"Cloud kernel on a CPU without {names}"
    return run


def on_model(name):
    def run(lab):
        boot_and_prove(lab, hardware={"model": name})
    run.__doc__ = f"Cloud kernel on Bochs' {name}"
    return run


for _feature, _shows in FALLBACKS.items():
    if _shows is None:
        continue
    scenario(bound=100, processors=_feature != "vid", name=f"without_{_feature}",
             row=f"without {_feature}")(without(_feature, _shows))
scenario(bound=120, slow=True, name="without_all", row="without all")(
    without(", ".join(FALLBACKS), "EPT leaves up to 4 KiB, no VPIDs.*, guest APIC: in software, preemption by APIC timer; "
            "guests have no RDTSCP, INVPCID or XSAVES$"))
for _model in MODELS:
    scenario(bound=120, processors=True, name=f"linux_on_{_model}", row="cloud")(on_model(_model))
