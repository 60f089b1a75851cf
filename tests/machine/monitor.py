"""The monitor as a person types at it: Ctrl-], the prompt's keys, each command, and back to the guest."""
import re
import time

from harness import BOOT, COMMAND, FIRMWARE, PATIENCE, Shell, expect, expect_in, host, linux, scenario, vm

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


@scenario(bound=150)
def monitor(lab):
    """A session: leave a guest that works, look at it from all sides, go back, and find it as it was."""
    m = lab.boot(linux("debian") + vm("later", lab.guest("cpuid_signature"), memory="16M", autostart="no"), memory=512)
    m.read_until(rb"^corbel: console of debian: Ctrl-\] for the monitor\r\n", FIRMWARE * PATIENCE)
    s = Shell(m)
    s.run("i=0; while sleep 1; do i=$((i+1)); echo $i > /tmp/i; done & trap '' HUP")
    p = Monitor(m)
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
    expect_in(r"power button was pressed", p.run("stop debian"), "stop")
    expect_in(r"^debian: is killed", p.run("kill debian"), "kill")
    m.read_until(rb"corbel: debian: killed after", COMMAND * PATIENCE)
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


def look(p):
    said = p.run("help")
    for name in ("list", "console", "start", "stop", "pause", "resume", "reset", "kill", "top", "stats", "cpus", "memory",
                 "log", "show", "dump", "set", "trace", "poweroff", "reboot", "help"):
        expect_in(rf"^  {name} .*\w$", said, "help")
        expect_in(rf"(?m)^{name}.*\nfor example: {name}", p.run(f"help {name}"), f"help {name}")
    said = p.run("list")
    expect_in(r"^debian +running +1 +256M +100 +1 +Ctrl-\]$", said, "list")
    expect_in(r"^later +off +1 +16M +100 +0$", said, "list")
    said = p.run("stats debian")
    expect_in(r"^debian: up .*, halted \d+\.\d % of it", said, "stats")
    expect_in(r"^(I/O instruction) +\d+ +\d+\.\d$", said, "stats")
    said = p.run("dump debian 0")
    expect_in(r"^  rip ffffffff[0-9a-f]{8} rflags ", said, "dump")
    expect_in(r"^  code at rip: ([0-9a-f]{2} ){16}", said, "dump")
    expect_in(r"^  guest RIP +ffffffff[0-9a-f]{8}", said, "dump")
    expect_in(r"^      .*HLT exiting", said, "dump")
    expect_in(r"^  cmdline +console=ttyS0 quiet$", p.run("show debian"), "show")
    expect_in(r"^  VMs +256M +\d+\.\d %$", p.run("memory"), "memory")
    expect_in(r"^ +0 +0 +\d+", p.run("cpus"), "cpus")
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
    p.m.read_until(rb"\r\nall +\d+\r\n\r" + PROMPT, COMMAND * PATIENCE)
    p.m.send("re\t")
    p.m.read_until(rb"resume  reset  reboot\r\n\rcorbel> re", COMMAND * PATIENCE)
    p.m.send("\x1b[A\x1b[A\x1b[B\r")
    p.m.read_until(rb"debian: up .*", COMMAND * PATIENCE)
    p.m.read_until(rb"\r\nall +\d+\r\n\r" + PROMPT, COMMAND * PATIENCE)
