"""The monitor as a person types at it: Ctrl-], the prompt's keys, each command, and back to the guest."""
import re
import time

from harness import (BOOT, COMMAND, FIRMWARE, NO_VID, PATIENCE, Shell, expect, expect_in, host, linux, scenario, vm,
                     wait_for_power_off)

PROMPT = rb"corbel> (?:\x1b\[K)?"
LEAVE = "\x1d"  # Ctrl-]


class Monitor:
    """Commands at the prompt and their output."""

    def __init__(self, m):
        self.m = m

    def enter(self):
        self.m.send(LEAVE)
        self.m.read_until(PROMPT, COMMAND * PATIENCE)

    def run(self, command, bound=COMMAND):
        """A command's output: what is echoed is not part of it."""
        self.m.send(command + "\r")
        match = self.m.read_until(re.escape(command).encode() + rb"\r\n(?s:(.*?))\r" + PROMPT, bound * PATIENCE)
        return match[1].replace(b"\r", b"").replace(b"\x1b[K", b"").decode(errors="replace")

    def wait_for(self, pattern, command="list", bound=COMMAND):
        """Ask until the answer is as it should be."""
        until = time.monotonic() + bound * PATIENCE
        while True:
            said = self.run(command)
            if re.search(pattern, said, re.MULTILINE) or time.monotonic() > until:
                expect_in(pattern, said, command)
                return said
            time.sleep(0.5)


@scenario(bound=150)
def monitor(lab):
    """A session: leave a guest that works, look at it from all sides, go back, and find it as it was."""
    later = vm("later", lab.guest("cpuid_signature"), memory="16M", autostart="no")
    m = lab.boot(NO_VID + linux("debian") + later, memory=512)
    m.read_until(rb"^corbel: console of debian: Ctrl-\] for the monitor\r\n", FIRMWARE * PATIENCE)
    s = Shell(m)
    s.run("i=0; while sleep 1; do i=$((i+1)); echo $i > /tmp/i; done & trap '' HUP")
    p = Monitor(m)
    p.shell = s
    p.enter()
    look(p)
    type_as_people_do(p)
    # Twice: the guest gets one. Here its shell shows what came.
    m.send(LEAVE)
    m.read_until(rb"corbel:[^ ]*# ", COMMAND * PATIENCE)
    expect("works" in s.run("echo works"), "the guest's shell does not answer after the monitor")
    m.send(LEAVE + LEAVE)
    m.send("\x03")
    s.prompt(COMMAND)
    p.enter()
    m.send("top\r")
    m.read_until(rb"\x1b\[H(?s:.*?)debian +running +\d+\.\d", COMMAND * PATIENCE)
    m.read_until(rb"\x1b\[H(?s:.*?)debian +running +\d+\.\d", COMMAND * PATIENCE)
    m.send("q")
    m.read_until(PROMPT, COMMAND * PATIENCE)
    steer(p)
    m.send("poweroff\r")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


def steer(p):
    """Weights, pause, a second VM and its console, the end."""
    expect_in(r"^debian: weight=300\ndebian: cap=50$", p.run("set debian weight=300 cap=50"), "set")
    expect_in(r"^weight = 0 in \[vm debian\] is too small; it must be from 1 to 10000$", p.run("set debian weight=0"), "set")
    expect_in(r"^debian +running +1 +256M +300 ", p.run("list"), "list")
    expect_in(r"^debian: stands still", p.run("pause debian"), "pause")
    p.wait_for(r"^debian +paused ")
    expect_in(r"^debian stands still: resume it first$", p.run("stop debian"), "stop")
    expect_in(r"^  rip [0-9a-f]{16} ", p.run("dump debian"), "dump")
    expect_in(r"^debian: goes on", p.run("resume debian"), "resume")
    expect_in(r"^later: starts", p.run("start later"), "start")
    p.m.read_until(rb"corbel: later: ended after", COMMAND * PATIENCE)
    said = p.run("list")
    expect_in(r"^later +powered off +1 +16M +100 +1 +new$", said, "list")
    expect("PASS" not in p.m.text(), "a console that is not in front was shown")
    p.m.send("console la\t\r")
    p.m.read_until(rb"corbel: console of later, which is off: Ctrl-\] for the monitor\r\n(?s:.*?)PASS cpuid_signature",
                   COMMAND * PATIENCE)
    p.enter()
    p.m.send(LEAVE)
    p.m.read_until(rb"later is off: console later shows what it said\r\n(?s:.*?)" + PROMPT, COMMAND * PATIENCE)
    p.m.send("console debian\r")
    p.m.read_until(rb"corbel: console of debian: Ctrl-\] for the monitor\r\n(?s:.*)works\r", COMMAND * PATIENCE)
    expect("on" in p.shell.run("echo on"), "the guest's shell does not answer after pause and resume")
    p.enter()
    expect_in(r"power button was pressed", p.run("stop debian"), "stop")
    p.m.send("poweroff\r")
    p.m.read_until(rb"waiting for 1 VM to shut down", COMMAND * PATIENCE)
    p.m.send("\x03")
    p.m.read_until(PROMPT, COMMAND * PATIENCE)
    expect_in(r"^debian: is killed", p.run("kill debian"), "kill")
    p.m.read_until(rb"corbel: debian: \w+ after .*killed from the monitor", COMMAND * PATIENCE)


def look(p):
    said = p.run("help")
    for name in ("list", "attach", "detach", "console", "start", "stop", "pause", "resume", "reset", "kill", "snapshot", "restore", "snapshots", "forget", "top", "stats",
                 "cpus", "memory", "disks", "log", "show", "dump", "set", "balloon", "ports", "resize", "trace", "com2", "nets",
                 "switch", "link", "capture", "regs", "read",
                 "write", "walk", "watch", "watches", "unwatch", "eject", "insert", "screenshot", "type", "keys", "mouse", "login", "logout",
                 "poweroff", "reboot", "help"):
        expect_in(rf"^  {name} .*\w$", said, "help")
        expect_in(rf"(?m)^{name}.*\nfor example: {name}", p.run(f"help {name}"), f"help {name}")
    said = p.run("list")
    expect_in(r"^debian +running +1 +256M +100 +1 +Ctrl-\]$", said, "list")
    expect_in(r"^later +not started +1 +16M +100 +0$", said, "list")
    said = p.run("stats debian")
    expect_in(r"^debian: up .*, 1 vCPU, 0 restarts\n  time: ran \d+\.\d %, .*; halted \d+\.\d %\n  woke [1-9]", said, "stats")
    rows = re.findall(r"(?m)^(\S.*?) +(\d+) +(\d+\.\d) +(\d+) +(\d+\.\d)$", said)
    counts = {name: int(count) for name, count, *_ in rows}
    expect(counts.pop("all") == sum(counts.values()) and counts["I/O instruction"] > 100, f"stats: {said}")
    expect(all(10 < int(each) < 1000000 for *_, each, _ in rows), f"what exits cost: {said}")
    said = p.run("dump debian 0")
    rip = expect_in(r"^  rip ([0-9a-f]{16}) rflags ", said, "dump")[1]
    expect_in(rf"^  guest RIP +{rip}$", said, "dump")
    expect_in(r"^  code at rip: ([0-9a-f]{2} )+", said, "dump")
    expect_in(r"^      .*HLT exiting", said, "dump")
    said = p.run("show debian")
    expect_in(r"^  cmdline +console=ttyS0 quiet$", said, "show")
    expect_in(r"^  its kernel was taken for a Linux bzImage$", said, "show")
    memory = p.run("memory")
    has, promised = (float(expect_in(rf"^  {row} +(\d+(?:\.\d)?)M +\d+\.\d %$", memory, "memory")[1])
                     for row in ("VMs", "promised to VMs"))
    expect(254 <= has + promised < 260, f"{has} and {promised} MiB, where a VM of 256 and its page tables are")
    expect_in(r"^ +0 +0 +\d+ .* debian vcpu 0", p.run("cpus"), "cpus")
    expect_in(r"^no drives are known: Corbel looks for them when a VM's config names one\n\nno VM that is on has a disk$", p.run("disks"), "disks")
    expect_in(r"^debian has no disk$", p.run("disks debian"), "disks debian")
    expect_in(r"^trace is off$", p.run("trace"), "trace")
    expect_in(r"^trace is on for debian$", p.run("trace on debian exits injections"), "trace on")
    for _ in range(30):  # the guest wakes once a second
        said = p.run("trace show 5").splitlines()
        if len(said) == 5:
            break
        time.sleep(0.2)
    expect(len(said) == 5 and all(re.match(r" *\d+\.\d{6} cpu0 debian/0 +(exits|injections) ", line) for line in said),
           f"trace show 5: {said}")
    expect_in(r"^trace is off$", p.run("trace off"), "trace off")
    expect_in(r"^there is no second serial port", p.run("trace save"), "trace save")
    expect_in(r"^'exit' is no VM and no class of events", p.run("trace on exit"), "trace on exit")
    said = p.run("log 3").splitlines()
    expect(len(said) == 3 and all(line.startswith("corbel: ") for line in said), f"log 3: {said}")
    expect(len(p.run("log").splitlines()) > 3, "log is short")


def type_as_people_do(p):
    """Errors, garbage, too much of it, editing, history, completion."""
    expect_in(r"^there is no command 'lits': help lists them$", p.run("lits"), "a wrong command")
    expect_in(r"^usage: dump VM \[VCPU\]$", p.run("dump"), "a missing argument")
    expect_in(r"^there is no VM 'debain': list shows them$", p.run("stats debain"), "a wrong name")
    p.m.send(b"x" * 10000 + b"\x15")  # 10 KB, and Ctrl-U
    p.m.send(bytes(b for b in range(256) if b not in (0x1d, 4, 10, 13)) * 4 + b"\x1b\x1b[999999999999999999~\x03")
    p.m.read_until(rb"\^C\r\n\r" + PROMPT, COMMAND * PATIENCE)
    p.m.send("sXtat\x02\x02\x02\x02\x02\x02\x1b[C\x1b[3~\x05s deb\t")
    p.m.read_until(rb"corbel> stat\x1b\[Ks debian ", COMMAND * PATIENCE)
    p.m.send("\r")
    p.m.read_until(rb"debian: up .*", COMMAND * PATIENCE)
    p.m.read_until(rb"\r\nall +\d+ [^\r]*\r\n\r" + PROMPT, COMMAND * PATIENCE)
    p.m.send("re\t")
    p.m.read_until(rb"resume  reset  restore  regs  read  reboot\r\n\rcorbel> re", COMMAND * PATIENCE)
    p.m.send("\x1b[A\x1b[A\x1b[B\r")
    p.m.read_until(rb"debian: up .*", COMMAND * PATIENCE)
    p.m.read_until(rb"\r\nall +\d+ [^\r]*\r\n\r" + PROMPT, COMMAND * PATIENCE)


@scenario(bound=60)
def consoles(lab):
    """VMs that run at once, and nobody who types: the one that is asked for first, then the others, nothing mixed."""
    names = ("cpuid_signature", "cpuid_topology", "uart", "cr_bits", "cpuid_features")
    m = lab.boot(host(attach="uart") + "".join(vm(name, lab.guest(name), memory="16M") for name in names))
    wait_for_power_off(m)
    parts = re.split(r"^corbel: console of (\S+): .*\n", m.text(), flags=re.MULTILINE)
    expect(parts[1] == "uart" and sorted(parts[1::2]) == sorted(names), f"consoles: {parts[1::2]}")
    for name, said in zip(parts[1::2], parts[2::2]):
        passed = re.findall(r"^PASS (\S+)$", said, re.MULTILINE)
        expect(passed == [name], f"{name}'s console has: {said}")


@scenario(bound=60)
def monitor_alone(lab):
    """No VM runs here, and the machine stays on: the monitor answers all the same, restarts the machine, and switches
    it off."""
    m = lab.boot(host(mode="check", when_idle="stay"), memory=256, kind="qemu", model="Nehalem,-vmx", cpus=2)
    m.read_until(PROMPT, FIRMWARE * PATIENCE)
    p = Monitor(m)
    expect_in(r"^  help ", p.run("help"), "help")
    expect_in(r"^2 processors, TSC at \d+ MHz\n.*\n +0 +0 .*\n +1 +1 ", p.run("cpus"), "cpus")
    expect_in(r"^  VMs +0 +0\.0 %$", p.run("memory"), "memory")
    for command in ("start", "stop", "pause", "resume", "reset", "kill", "stats", "dump"):
        said = p.run(f"{command} debian")
        expect(said.count("\n") == 1 and said.strip(), f"{command} debian: {said!r}")
    m.send(LEAVE + "\x04")  # nowhere to go back to
    expect_in(r"corbel", p.run("log 2"), "log")
    m.send("top\r")
    m.read_until(rb"(?s)\x1b\[H.*\x1b\[H", COMMAND * PATIENCE)
    m.send("\x03")
    m.read_until(PROMPT, COMMAND * PATIENCE)
    m.send("reboot\r")
    m.read_until(rb"corbel: Corbel's loader", FIRMWARE * PATIENCE)
    m.read_until(PROMPT, FIRMWARE * PATIENCE)
    m.send("poweroff now\n")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")
