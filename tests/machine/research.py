"""Looking at guests from outside and being told what they do: docs/RESEARCH.md and its three examples."""
import re
import subprocess

import gdb
from bochs3 import bochs_3
from harness import (BOOT, COMMAND, FIRMWARE, PATIENCE, TOP, Shell, expect, expect_in, expect_said, host, linux,
                     scenario, vm, wait_for_power_off)
from monitor import PROMPT, Monitor
from smp import Host

# Bochs does virtual-interrupt delivery wrong for a Linux whose console is busy: docs/CAVEATS.md.
VID = {"without": "vid"}


def symbols(lab, guest):
    """{name: address} of a test guest, in hexadecimal."""
    names = subprocess.run(["nm", lab.guest(guest + ".elf")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    return {name: address.lstrip("0") for address, _, name in (line.split() for line in names.splitlines())}


def watch(p, name, what):
    """Watch; the number of it."""
    return int(expect_in(r"^watch (\d+): ", p.run(f"watch {name} {what}"), f"watch {what}")[1])


def rows(p, name):
    """{number: (events, lines, left out)} of `watches`."""
    return {int(n): tuple(map(int, counts)) for n, *counts in
            re.findall(r"(?m)^ *(\d+) .* (\d+) +(\d+) +(\d+)$", p.run(f"watches {name}"))}


def counted(p, name):
    return {number: row[0] for number, row in rows(p, name).items()}


def watched(lab, **options):
    """Each kind of event of a guest that knows how many there are; which finds nothing of it out."""
    at = symbols(lab, "watched")
    p = Host(lab, vm("watched", lab.guest("watched"), memory="16M", paused="yes", on_poweroff="pause"), **options)
    p.wait_for("^watched +paused")
    look(p, at)
    wrong(p)
    # The guests' runtime clears memory byte by byte, and loads or sets each of CR0, CR4, GDTR, IDTR and TR once.
    expected = {
        f"write {at['written']}+4K count": 4096 + 31,  # 10, 3, 1, 16 and 1
        f"write {at['busy']}+8K count": 8192 + 300 + 20,
        f"read phys:{at['was_read']}+4K count": 7,
        f"read {at['gates']}+4K count": 20,
        f"execute {at['code_function']} count": 6,
        f"execute {at['code_function']}+7 count": 18,  # three instructions each
        f"write {at['code_page']}+4K log": 1,
        "cr0 count": 1 + 2,
        "cr3 count": 6,  # five, and one that faults
        "cr4 count": 1 + 2,
        "msr c0000100 count": 5,
        "gdtr count": 1 + 2,
        "idtr count": 1 + 2 + 3,
        "ldtr log": 1,
        "tr count": 1 + 1,
        "syscall count": 26,
    }
    numbers = {watch(p, "watched", what): count for what, count in expected.items()}
    p.run("resume watched")
    p.wait_for("^watched +paused", bound=60)
    got = counted(p, "watched")
    expect(got == numbers, "\n".join(f"{what}: {got.get(n)}, not {count}" for n, (what, count) in
                                     enumerate(expected.items()) if got.get(n) != count))
    expect_said(p.m, rf"corbel: watched: watch \d+: write to phys:{int(at['code_function'], 16) + 1:x} \(linear \w+\), rip \w+, vcpu 0$")
    expect_said(p.m, r"corbel: watched: watch \d+: ldtr was set to 0, base 0")
    expect_in("^watched: 16 watches less$", p.run("unwatch watched all"), "unwatch")
    expect(counted(p, "watched") == {}, "watches are left")
    p.m.send("console watched\r")
    p.m.read_until(rb"(PASS|FAIL[^\r]*) watched\r\n", COMMAND * PATIENCE)
    expect("PASS watched" in p.m.text(), "the guest has seen something")
    p.enter()
    p.end()


def look(p, at):
    """Memory, registers and page tables."""
    function = int(at["code_function"], 16)
    expect_in(rf"^{function:016x}  b8 01 00 00 00 90 c3 cc +\.{{8}}$", p.run(f"read watched {function:x} 8"), "read")
    expect_in(rf"^{function:016x}  b8 01 00 00 00 90 c3 cc", p.run(f"read watched phys:{function:x} 8"), "read phys")
    expect_in("^3 bytes written$", p.run("write watched phys:8000 c0ffee"), "write")
    expect_in(r"^0+8000  c0 ff ee 00", p.run("read watched 8000"), "read")
    expect_in(r"^phys:1000000 is no RAM$", p.run("read watched phys:fffff0 32"), "read at RAM's end")
    expect_in(r"is not mapped", p.run("read watched ffff800000000000"), "read")
    expect_in(r"is not 1 to 96 bytes", p.run("write watched 8000 c0ffe"), "write")
    expect_in(r"is no address", p.run("read watched xyz"), "read")
    expect_in(r"is not a number of bytes from 1 to 4096", p.run("read watched 0 4097"), "read")
    said = p.run(f"walk watched {function:x}")
    expect_in(r"(?s)^vCPU 0 has cr3 \w+\n  level 4 .*present writable.*\n  level 3 .*\n  level 2 .* large", said, "walk")
    expect_in(rf"^  EPT      phys:{function:x} is at \w+ of the host, in a page of 2M, rw-, WB$", said, "walk")
    expect_in(r"^  linear ffff800000000000 is not mapped$", p.run("walk watched ffff800000000000"), "walk")
    expect_in(r"is not mapped by EPT", p.run("walk watched phys:40000000"), "walk")
    expect_in("^done$", p.run("regs watched 0 rax=1234 r15=5678"), "regs")
    said = p.run("regs watched")
    expect_in(r"^  rax 0000000000001234 ", said, "regs")
    expect_in(r" r15 0000000000005678$", said, "regs")
    expect_in(r"is not NAME=HEXADECIMAL", p.run("regs watched cr9=1"), "regs")
    expect_in(r"the processor would refuse", p.run("regs watched rip=8000000000000000"), "regs")


def wrong(p):
    """What cannot be watched, and why."""
    for what, sentence in (
            ("write phys:fec00000 log", "is no RAM: accesses to devices exit anyway"),
            ("execute phys:fee00000 log", "is no RAM"),
            ("read phys:0+64M count", "RAM at phys:0 ends before 0x4000000 bytes are over"),
            ("write ffff800000000000 log", "linear ffff800000000000 is not mapped by vCPU 0's page tables"),
            ("write phys:1000+2G log", "has no length that is possible"),
            ("msr 80b log", "is the local APIC's"),
            ("cr2 log", "'cr2' is no event"),
            ("cr3 stop", "no handler has that name"),
            ("cr3 linux-process rq=1", "linux-process needs comm=NUMBER"),
            ("cr4 linux-process rq=1 comm=2 pid=3", "linux-process is not for the event cr4")):
        expect_in(sentence, p.run(f"watch watched {what}"), what)
    for i in range(16):
        expect(watch(p, "watched", f"write phys:{0x200000 + i * 4096:x} count") == i, "numbers")
    expect_in("^watched has 16 watches: unwatch one of them first$", p.run("watch watched cr0 log"), "watch")
    expect_in("^watch 3 ends$", p.run("unwatch watched 3"), "unwatch")
    expect(watch(p, "watched", "cr0 log") == 3, "the free place is not used")
    expect_in("has no watch '16'", p.run("unwatch watched 16"), "unwatch")
    expect_in("^watched: 16 watches less$", p.run("unwatch watched all"), "unwatch")
    p.m.send("watch watched ex\tphys:0 co\t\r")
    p.m.read_until(rb"watch 0: execute phys:0\+0x1: count\r\n", COMMAND * PATIENCE)
    p.m.read_until(PROMPT, COMMAND * PATIENCE)
    expect_in("^watch 0 ends$", p.run("unwatch watched 0"), "unwatch")


@scenario(bound=60)
def watch_events(lab):
    """Every kind of event is seen as often as it happens, steps by TF, and the guest sees nothing."""
    watched(lab)


@scenario(bound=60, slow=True)
def watch_events_monitor_trap(lab):
    """The same with the monitor trap flag."""
    watched(lab, bochs=bochs_3())


@scenario(bound=60)
def watch_pages_shared(lab):
    """Two vCPUs on two processors write to one page; a flood of lines; pause, resume, reset and kill while watched."""
    at = symbols(lab, "watched_smp")["shared"]
    p = Host(lab, vm("both", lab.guest("watched_smp"), memory="16M", cpus=2, paused="yes", on_poweroff="pause",
                     watch=f"write phys:{at}+4K count\nwatch = write phys:{at} log") +
             vm("never", lab.guest("watched_smp"), memory="16M", watch="cr0 count\nwatch = cr7 log") +
             vm("wrong", lab.guest("watched_smp"), memory="16M", cpus=2, watch="write phys:fee00000 log"), {"when_idle": "stay"}, cpus=2)
    p.wait_for("^wrong +did not start")
    p.wait_for("^never +not started")
    p.wait_for("^both +paused")
    expect_said(p.m, r"corbel: error: corbel.conf:\d+: watch in \[vm never\]: 'cr7' is no event")
    expect_said(p.m, r"corbel: error: corbel.conf:\d+: \[vm wrong\]: watch: phys:fee00000 is no RAM")
    p.run("resume both")
    p.wait_for("^both +paused", bound=60)
    both, flood = rows(p, "both")[0], rows(p, "both")[1]
    # The guests' runtime clears memory byte by byte.
    expect(both == (4096 + 400, 0, 0), f"of 4096 + 400 writes {both} were seen")
    expect(flood[0] == 1 + 200 and flood[1] + flood[2] == 201 and 100 <= flood[1] < 200, f"lines: {flood}")
    p.run(f"watch both write phys:{at} pause")
    expect_in("is reset", p.run("reset both"), "reset")
    expect_in("goes on", p.run("resume both"), "resume")  # `paused = yes` holds for a reset, too
    for n in (0, 0, 1):
        p.m.read_until(rb"corbel: both: watch 2: write to phys:%s .*: the VM is paused" % at.encode(), COMMAND * PATIENCE)
        p.wait_for("^both +paused")
        value = int(expect_in(r"^0+" + at + r"  (\w\w)", p.run(f"read both phys:{at} 1"), "read")[1], 16)
        expect(value == n, f"the memory has {value} before it is written, not {n}")
        expect_in("goes on", p.run("resume both"), "resume")
    p.wait_for("^both +paused")
    p.run("unwatch both 2")
    p.run("resume both")
    p.wait_for("^both +paused", bound=60)
    got = counted(p, "both")
    expect(got == {0: 2 * 4496, 1: 2 * 201}, f"after the reset: {got}")
    p.run("reset both")
    expect_in("is killed", p.run("kill both"), "kill")
    expect_in("^both is off: its watches come and go with it$", p.run("watches both"), "watches")
    p.end()


@scenario(bound=200, slow=True)
def paused_again_at_once(lab):
    """A vCPU that has the VM paused while another processor still lets in the rest of 64."""
    at = symbols(lab, "smp_lock")["work"]
    p = Host(lab, vm("many", lab.guest("smp_lock"), memory="16M", cpus=64, on_poweroff="pause",
                     watch=f"execute phys:{at} pause"), cpus=2)
    seen = 0
    while seen < 64:  # sometimes two at once
        p.wait_for("^many +paused")
        seen = counted(p, "many")[0]
        p.run("resume many")
    line = r"corbel: many: watch 0: execution at phys:0*%s .*, vcpu (\d+): the VM is paused" % at
    expect_said(p.m, line, 64)
    vcpus = re.findall(line, p.m.text())
    expect(sorted(map(int, vcpus)) == list(range(64)), f"vCPUs that were seen: {vcpus}")
    p.end()


# --- the examples ---


def offsets(lab):
    return subprocess.run([f"{TOP}/tools/linux-offsets", lab.default("vmlinuz")], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@scenario(bound=150, slow=True)
def research_examples(lab):
    """The three of docs/RESEARCH.md on Debian: process switches by name, kernel text that is written, system calls."""
    m = lab.boot(host(**VID) + linux("debian", memory="128M", cmdline="console=ttyS0 quiet nokaslr"),
                 memory=512)
    s = Shell(m)
    text = expect_in(r"^ *([0-9a-f]+)-([0-9a-f]+) : Kernel code$", s.run("cat /proc/iomem"), "/proc/iomem")
    p = Monitor(m)
    processes(p, s, offsets(lab))
    kernel_text(p, s, *(int(n, 16) for n in text.groups()))
    system_calls(p, s)
    s.poweroff()
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


def back(p):
    p.m.send("\x1d")
    p.m.read_until(rb"corbel:[^ ]*# ", COMMAND * PATIENCE)


def processes(p, s, where):
    p.enter()
    n = watch(p, "debian", f"cr3 linux-process {where}")
    back(p)
    s.m.type("(sleep 0.3 & echo $! > /tmp/pid; wait)\n")
    line = rb"corbel: debian: watch %d: vcpu 0 runs (\S+) \(pid (\d+)\)\r\n" % n
    pid = s.m.read_until(line.replace(rb"(\S+)", b"sleep"), COMMAND * PATIENCE)[1]
    s.m.read_until(line.replace(rb"(\S+)", b"sh"), COMMAND * PATIENCE)
    p.enter()
    p.run(f"unwatch debian {n}")
    ran = re.findall(line.replace(rb"\r\n", b"").decode(), p.m.text())
    expect(len(ran) > 2 and all(a != b for a, b in zip(ran, ran[1:])), f"no switch: {ran}")
    back(p)
    s.m.type("\n")
    expect(s.run("cat /tmp/pid").strip() == pid.decode(), f"sleep did not run as {pid.decode()}")


def kernel_text(p, s, first, last):
    p.enter()
    n = watch(p, "debian", f"write phys:{first:x}+{last + 1 - first} pause")
    expect_in(rf"in a page of \w+, r-x, WB", p.run(f"walk debian phys:{first:x}"), "walk")
    back(p)
    s.run("sleep 0.2")
    s.m.type("echo 1 > /proc/sys/kernel/sched_schedstats\n")
    p.m.read_until(rb"corbel: debian: watch %d: write to phys:\w+ \(linear \w+\), rip \w+, vcpu 0: the VM is paused" % n,
                   COMMAND * PATIENCE)
    p.enter()
    p.wait_for("^debian +paused")
    expect_in(r"^  code at rip: \w\w", p.run("regs debian"), "regs")
    expect_in(f"^watch {n} ends$", p.run(f"unwatch debian {n}"), "unwatch")
    expect_in("rwx, WB", p.run(f"walk debian phys:{first:x}"), "walk")
    expect_in("goes on", p.run("resume debian"), "resume")
    back(p)
    expect(s.run("cat /proc/sys/kernel/sched_schedstats").strip() == "1", "the write has not come to its end")


def system_calls(p, s):
    """dd makes two for each block; what else there is of them is the same for both runs."""
    counts = []
    p.enter()
    n = watch(p, "debian", "syscall count")
    back(p)
    for blocks in (100, 600):
        p.enter()
        before = counted(p, "debian")[n]
        back(p)
        s.run(f"dd bs=1 count={blocks} </dev/zero >/dev/null 2>&1")  # in one line of the terminal
        p.enter()
        counts.append(counted(p, "debian")[n] - before)
        back(p)
    expect(abs(counts[1] - counts[0] - 1000) <= 5, f"{counts[0]} and {counts[1]} system calls, which is not 1000 more")
    p.enter()
    p.run("unwatch debian all")
    back(p)


@scenario(bound=120, slow=True)
def watch_under_gdb(lab):
    """gdb's session as ever, on a VM whose pages are watched: a step for both is one step."""
    at = symbols(lab, "debugged")
    m = gdb.boot(lab, host(gdb="com2") + vm("debugged", lab.guest("debugged"), memory="16M", paused="yes",
                                            watch=f"write phys:{at['watched']} log\nwatch = execute phys:{at['inner']} log"))
    gdb.check_session(gdb.gdb(lab, m, gdb.SESSION))
    wait_for_power_off(m)
    for what, times in (("write to", 3), ("execution at", 3)):
        got = len(re.findall(rf"corbel: debugged: watch \d: {what} phys:", m.text()))
        expect(got >= times, f"{what}: {got} times, not {times}")
