"""VMs with other virtio devices: Debian's kernel and its own modules."""
import os
import re

from harness import BOOT, NO_VID, PATIENCE, Shell, expect, expect_in, host, linux, scenario
from monitor import LEAVE, Monitor
from smp import tiny
from vm_disks import FOLDER, MODULES, initrd, load_modules

BALLOON = MODULES + ("virtio_balloon",)


def debian(lab, modules, **keys):
    return linux("debian", kernel=os.path.join(FOLDER, "vmlinuz"), initrd=initrd(lab, modules=modules), **keys)


class Session:
    """A guest's shell and the monitor, by turns."""

    def __init__(self, m, modules):
        self.m, self.p, self.modules = m, Monitor(m), modules
        self.boot()

    def boot(self):
        self.shell = Shell(self.m, slow=2)
        load_modules(self.shell, self.modules)

    def monitor(self, *commands):
        """What the last one says."""
        self.p.enter()
        said = [self.p.run(c) for c in commands][-1]
        self.back()
        return said

    def back(self):
        self.m.send(LEAVE)
        self.m.send("\n")
        self.shell.prompt(BOOT)

    def until(self, command, pattern, bound=BOOT):
        self.p.enter()
        said = self.p.wait_for(pattern, command, bound)
        self.back()
        return said


def goes_off(m):
    """The machine, whose last lines stand behind a prompt."""
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


def free_frames(s):
    return int(expect_in(r"(\d+) frames of 4K are free", s.monitor("memory"), "memory")[1])


def free_in_guest(s):
    return int(expect_in(r"^MemFree: +(\d+) kB$", s.shell.run("grep MemFree /proc/meminfo"), "meminfo")[1]) // 1024


ALL_BACK = r"^  given back to this machine +0$"
HALF_GIVEN = r"^  given back to this machine +(128M|127\.\dM)$"


@scenario(bound=500, slow=True)
def balloon_linux(lab):
    """Linux' own virtio_balloon: what the monitor takes is missing in the guest, and another VM can start with it, which it
    could not before; what it gives is there again, once nobody else has it; it says how it gets along; and a reset takes all
    of it back, or ends the VM."""
    config = NO_VID + debian(lab, BALLOON, memory="256M", balloon="yes") + tiny(lab, "hog", "spin", memory="300M", autostart="no")
    m = lab.boot(config, memory=512)
    s = Session(m, BALLOON)
    frames, free = free_frames(s), free_in_guest(s)
    expect_in(r"^hog does not start: the log says why$", s.monitor("start hog"), "start")
    expect_in(r"^debian can have \d+ MiB to 256 MiB: less is less than", s.monitor("balloon debian 4M"), "balloon")
    expect_in(r"^debian can have \d+ MiB to 256 MiB, its memory", s.monitor("balloon debian 257M"), "balloon")
    expect_in(r"^debian: shall have 128M", s.monitor("balloon debian 128M"), "balloon")
    said = s.until("balloon debian", HALF_GIVEN)
    expect_in(r"^debian: shall have 128M$", said, "balloon")
    expect_in(r"^  as the guest counts, without balloon +128M$", said, "balloon")
    expect_in(r"^the guest says:\n  memory +2\d\d.*\n  free +\d", said, "balloon")
    expect(free_frames(s) - frames > 32000, f"of {frames} frames that were free there are {free_frames(s)} now")
    expect(free - free_in_guest(s) > 120, f"of {free} MiB the guest has {free_in_guest(s)} free")
    expect_in(r"^  debian: 256M of RAM, of which it has given back 12[78]", s.monitor("memory"), "memory")
    expect_in(r"^hog: starts", s.monitor("start hog"), "start")
    # What it has left is still its own.
    said = s.shell.run("dd if=/dev/urandom of=/tmp/a bs=64k count=256 2>/dev/null; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b && echo same; rm /tmp/[ab]", 120)
    expect_in(r"^same$", said, "memory that is left")
    # It wants all of it back, which the other one has.
    s.monitor("balloon debian 256M")
    s.until("balloon debian", r"the guest wants memory back, and waits: this machine has none$")
    s.monitor("kill hog")
    s.until("balloon debian", ALL_BACK)
    expect(abs(free_in_guest(s) - free) < 20, f"of {free} MiB the guest has {free_in_guest(s)} free")
    said = s.shell.run("dd if=/dev/zero of=/tmp/a bs=1M count=90 2>/dev/null && sha256sum /tmp/a; rm /tmp/a; dmesg | grep -iE 'virtio|balloon|bad page|oom'", 120)
    expect_in(r"^[0-9a-f]{64}", said, "filling memory")
    expect(not re.search(r"(?i)error|fail|bad|oom", said), f"dmesg complains:\n{said}")
    # Its driver goes, and takes everything out first.
    s.monitor("balloon debian 200M")
    s.until("balloon debian", r"^  given back to this machine +5[56]")
    expect_in(r"^gone$", s.shell.run("rmmod virtio_balloon && echo gone", 120), "rmmod")
    expect_in(ALL_BACK, s.monitor("balloon debian"), "balloon")
    # A reset begins with all memory; where it is not to be had, the VM has ended.
    s.monitor("balloon debian 128M")
    expect_in(r"^again$", s.shell.run("insmod /modules/virtio_balloon.ko && echo again"), "insmod")
    s.until("balloon debian", HALF_GIVEN)
    m.type("reboot\n")
    m.read_until(r"^corbel: debian: restarts: ", BOOT * PATIENCE)
    s.boot()
    s.until("balloon debian", HALF_GIVEN)
    expect_in(r"^hog: starts", s.monitor("start hog"), "start")
    m.send(LEAVE)
    s.p.run("reset debian")
    m.read_until(r"corbel: error: corbel\.conf:\d+: \[vm debian\]: not enough memory for what its balloon had given back", BOOT * PATIENCE)
    s.p.wait_for(r"^debian +did not start ")
    m.send("poweroff now\r")
    goes_off(m)


@scenario(bound=300, soak=True)
def balloon_linux_reloaded(lab):
    """Its state is saved, wiped and reloaded at random exits while it grows and shrinks."""
    config = host(without="vid", test_reload=50) + debian(lab, BALLOON, memory="128M", balloon="yes")
    m = lab.boot(config, memory=512)
    s = Session(m, BALLOON)
    for _ in range(2):
        s.monitor("balloon debian 96M")
        s.until("balloon debian", r"^  given back to this machine +(32M|31\.\dM)$")
        s.monitor("balloon debian 128M")
        s.until("balloon debian", ALL_BACK)
    s.shell.poweroff()
    goes_off(m)
    expect_in(r"  state saved, wiped and reloaded \d{2,} times", m.text().replace("\r", ""))


CONSOLE = MODULES + ("virtio_console",)


def port_of(s, name):
    """/dev/vportNpM of the port with that name."""
    return expect_in(r"^(vport\d+p\d+)$", s.shell.run(f"cd /sys/class/virtio-ports && grep -l '^{name}$' */name | cut -d/ -f1; cd"),
                     f"the port {name}")[1]


def echo(s, port):
    """Answer each line that comes by a port, which one process at a time may have open."""
    s.shell.run(f"(while read -r line <&3; do echo \"got: $line\" >&3; done) 3<>/dev/{port} & echo $! >/tmp/pid")
    s.until("ports debian", r"^ +1 +corbel\.1 +open ")


def attach(s, console):
    s.p.enter()
    s.m.send(f"console {console}\r")
    s.m.read_until(rf"corbel: console of {re.escape(console)}: Ctrl-\] for the monitor\r\n", BOOT * PATIENCE)


def attach_shell(s):
    attach(s, "debian")
    s.m.send("\n")
    s.shell.prompt(BOOT)


@scenario(bound=400, slow=True)
def console_linux(lab):
    """Linux' own virtio_console: what is written to a port is kept, counted and shown when somebody looks, an echo in the guest
    answers what is typed there; hvc0 is a terminal with a shell, of the size that the monitor says; the names are in sysfs;
    ports that nobody reads hold nobody up."""
    m = lab.boot(NO_VID + debian(lab, CONSOLE, console="2"), memory=512)
    s = Session(m, CONSOLE)
    data = port_of(s, "corbel.1")
    expect_in(r"^ +0 +corbel\.0 +(open|closed) +\d+ +0 +0 +0\n +1 +corbel\.1 +closed +0 +0 +0 +0$", s.monitor("ports debian"), "ports")
    # What is said while nobody looks.
    s.shell.run(f"echo one line >/dev/{data}")
    expect_in(r"^ +1 +corbel\.1 +closed +9 ", s.monitor("ports debian"), "ports")
    echo(s, data)
    attach(s, "debian.1")
    m.read_until(rb"^one line", BOOT * PATIENCE)
    for line in ("hello", "again"):
        m.send(f"{line}\n")
        m.read_until(rf"^got: {line}", BOOT * PATIENCE)
    # hvc0 is a terminal.
    attach_shell(s)
    s.shell.run("kill $(cat /tmp/pid)")
    s.shell.run("setsid sh -c 'exec sh -i </dev/hvc0 >/dev/hvc0 2>&1' & true")
    s.until("ports debian", r"^ +0 +corbel\.0 +open ")
    attach(s, "debian.0")
    m.send("echo $((6*7)); tty\n")
    m.read_until(rb"(?s)\n42\r?\n/dev/hvc0", BOOT * PATIENCE)
    s.p.enter()
    expect_in(r"^debian\.0: 132 columns, 50 rows$", s.p.run("resize debian 132x50"), "resize")
    m.send("console debian\r")
    m.read_until(rb"corbel: console of debian: ", BOOT * PATIENCE)
    m.send("\n")
    s.shell.prompt(BOOT)
    # Linux without a fix of 2025 reads rows first (docs/DEVICES.md).
    expect_in(r"^(50 132|132 50)$", s.shell.run("stty size </dev/hvc0"), "stty size")
    # More than is kept, and nobody looks.
    said = s.shell.run(f"head -c 100000 /dev/zero | tr '\\0' x >/dev/{data} && echo written", 120)
    expect_in(r"^written$", said, "100000 bytes")
    expect_in(r"^ +1 +corbel\.1 +\w+ +16384 +8\d{4} ", s.monitor("ports debian"), "ports")
    said = s.shell.run("dmesg | grep -iE 'virtio|hvc|vport'")
    expect(not re.search(r"(?i)error|fail|can.t", said), f"dmesg complains:\n{said}")
    s.shell.poweroff()
    goes_off(m)


@scenario(bound=300, soak=True)
def console_linux_reloaded(lab):
    """Its state is saved, wiped and reloaded at random exits while bytes go both ways."""
    m = lab.boot(host(without="vid", test_reload=50) + debian(lab, CONSOLE, console="2"), memory=512)
    s = Session(m, CONSOLE)
    echo(s, port_of(s, "corbel.1"))
    attach(s, "debian.1")
    for i in range(5):
        m.send(f"line {i}\n")
        m.read_until(rf"^got: line {i}", BOOT * PATIENCE)
    attach_shell(s)
    s.shell.poweroff()
    goes_off(m)
    expect_in(r"  state saved, wiped and reloaded \d{2,} times", m.text().replace("\r", ""))
