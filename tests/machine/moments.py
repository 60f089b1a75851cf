"""VMs that are kept as they are and put back: each time they go on from there, and nobody in them can tell."""
import os
import re
import string
import time

from disks import contents
from harness import COMMAND, FIRMWARE, PATIENCE, Shell, expect, expect_in, host, linux, scenario
from monitor import LEAVE, PROMPT, Monitor
from shell import prove, random_initrd
from smp import Host, tiny

MULTIPLY, ADD, ROUNDS = 6364136223846793005, 1442695040888963407, 20000  # of tests/guests/counts.c
MASK = (1 << 64) - 1
KEYS = (string.ascii_letters + string.digits).replace("q", "")  # what it was asked before is shown again


class Counting(Host):
    """VMs that run tests/guests/counts.c: what they have come to at a step is always the same."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = 0
        self.factor, self.summand = pow(MULTIPLY, ROUNDS, 1 << 64), 0
        for _ in range(ROUNDS):
            self.summand = (self.summand * MULTIPLY + ADD) & MASK

    def step(self, name):
        """How far it is."""
        self.asked += 1
        key = KEYS[self.asked % len(KEYS)]
        self.m.send(f"console {name}\r")
        self.m.read_until(rb"corbel: console of %s: Ctrl-\] for the monitor\r\n" % name.encode(), COMMAND * PATIENCE)
        self.m.send(key)
        match = self.m.read_until(rb"%s: step (\d+), ([0-9a-f]+)\r\n" % key.encode(), COMMAND * PATIENCE)
        step, value = int(match[1]), 0
        for _ in range(step):
            value = (value * self.factor + self.summand) & MASK
        expect(int(match[2], 16) == value, f"{name} has come to {match[2]} at step {step}, not to {value:x}")
        self.enter()
        return step

    def quit(self, name):
        self.m.send(f"console {name}\r")
        self.m.read_until(rb"corbel: console of %s: Ctrl-\] for the monitor\r\n" % name.encode(), COMMAND * PATIENCE)
        self.m.send("q")
        self.m.read_until(rb"PASS counts", COMMAND * PATIENCE)
        self.m.read_until(PROMPT, COMMAND * PATIENCE)


def counted(lab, vcpus, processors, rounds, more=None):
    p = Counting(lab, tiny(lab, "a", "counts", memory="4M", cpus=vcpus) + tiny(lab, "b", "counts", memory="4M"),
                 {"when_idle": "stay", **(more or {})}, cpus=processors)
    p.wait_for("^a +running")
    before = p.step("a")
    expect_in(r"^a: is kept as 'one'$", p.run("snapshot a one"), "snapshot")
    expect_in(r"^a has a snapshot 'one' already: forget it", p.run("snapshot a one"), "snapshot")
    expect_in(r"^a +one +\d+", p.run("snapshots"), "snapshots")
    expect_in(r"^  a: \S+ of snapshots$", p.run("memory"), "memory")
    after = p.step("a")
    time.sleep(1)
    for _ in range(rounds):
        then = p.step("a")
        expect_in(r"^a: is what was kept as 'one'$", p.run("restore a one"), "restore")
        again = p.step("a")
        expect(before <= again < then and again < after + 2000,
               f"it was kept between {before} and {after}, was at {then} before it was put back, and is at {again}")
        time.sleep(0.5)
    # One that stands still goes on standing still.
    expect_in(r"^a: stands still", p.run("pause a"), "pause")
    p.wait_for("^a +paused")
    expect_in(r"^a: is what was kept as 'one'; it stands still$", p.run("restore a one"), "restore")
    expect_in(r"^a: is kept as 'two'; it stands still$", p.run("snapshot a two"), "snapshot")
    p.wait_for("^a +paused")
    expect_in(r"^a: goes on", p.run("resume a"), "resume")
    p.step("a")
    # Another life of the same VM.
    expect_in(r"^a: is killed", p.run("kill a"), "kill")
    p.wait_for("^a +killed")
    expect_in(r"^a is off: start it first$", p.run("restore a two"), "restore")
    expect_in(r"^a: starts", p.run("start a"), "start")
    expect_in(r"^a: is what was kept as 'two'$", p.run("restore a two"), "restore")
    again = p.step("a")
    expect(again >= before, f"its new life is at {again}")
    p.quit("a")
    for name in ("one", "two"):
        expect_in(rf"^a: '{name}' is forgotten$", p.run(f"forget a {name}"), "forget")
    expect_in(r"^there is none", p.run("snapshots"), "snapshots")
    expect("snapshots" not in p.run("memory"), "what was forgotten takes memory")
    p.quit("b")
    p.end()


@scenario(bound=60)
def moments(lab):
    """A guest that counts is put back five times."""
    counted(lab, 1, 1, 5)


@scenario(bound=60)
def moments_2_on_1(lab):
    """The same with two vCPUs on one processor, without virtual-interrupt delivery."""
    counted(lab, 2, 1, 3, {"without": "vid"})


@scenario(bound=100, slow=True)
def moments_2_on_2(lab):
    """And on two."""
    counted(lab, 2, 2, 20)


@scenario(bound=60)
def moments_refused(lab):
    """What cannot be kept, or put back, is said, and the VM goes on."""
    with open(lab.path("scratch.img"), "wb") as f:
        f.write(b"x" * 65536)
    p = Counting(lab, tiny(lab, "a", "counts", memory="4M", disk="ram:scratch.img") +
                 tiny(lab, "later", autostart="no"), {"when_idle": "stay"})
    p.wait_for("^a +running")
    expect_in(r"^'a/b' is no name", p.run("snapshot a a/b"), "snapshot")
    expect_in(r"^there is no VM", p.run("snapshot none one"), "snapshot")
    expect_in(r"^later is off$", p.run("snapshot later one"), "snapshot")
    expect_in(r"^a has no snapshot 'one'", p.run("restore a one"), "restore")
    expect_in(r"^a has no snapshot 'one'", p.run("forget a one"), "forget")
    expect_in(r"^a: is kept as 'one'$", p.run("snapshot a one"), "snapshot")  # with its disk
    p.step("a")
    expect_in(r"^a: is what was kept as 'one'$", p.run("restore a one"), "restore")
    p.step("a")
    expect_in(r"^a: ", p.run("detach a ram:scratch.img force", 2 * COMMAND), "detach")
    expect_in(r"^a has other disks in memory than it had then$", p.run("restore a one"), "restore")
    p.wait_for("^a +running")
    p.step("a")
    p.quit("a")
    p.end()


# --- disks of drives ---


class Writing(Host):
    """A VM that runs tests/guests/disk_writer.c, on a disk in memory and on a partition of the boot disk, by Bochs' IDE."""

    def __init__(self, lab, **keys):
        lab.file("scratch.img", os.urandom(300 * 512))
        config = tiny(lab, "a", "disk_writer", memory="4M", **keys)
        config += "disk = ram:scratch.img,bus=ide\ndisk = part:data,bus=ide\n"
        config += f"[disk data]\nfrom = {lab.file('from', os.urandom(1 << 20))}\n"
        self.beside = os.urandom(1 << 20)
        config += f"[disk beside]\nfrom = {lab.file('sevens', self.beside)}\n"
        self.image = lab.image(host(attach="monitor", when_idle="stay") + config)
        Monitor.__init__(self, lab.start(self.image))
        self.m.read_until(PROMPT, FIRMWARE * PATIENCE)
        self.wait_for("^a +running")

    def key(self, key, turn):
        """It writes, or reads and compares with its memory."""
        self.console("a", key, rb"%s: turn %d\r\n" % (key.encode(), turn))

    def stalls(self):
        """It writes, and stands still in the middle of that."""
        self.m.send("console a\r")
        self.m.read_until(rb"corbel: console of a: Ctrl-\] for the monitor\r\n", COMMAND * PATIENCE)
        self.m.send("w")
        self.m.read_until(rb"a stands still: it writes to part:data, and no memory is left", COMMAND * PATIENCE)
        self.enter()
        self.wait_for("^a +paused")

    def over(self):
        self.m.send("console a\r")
        self.m.read_until(rb"corbel: console of a: Ctrl-\] for the monitor\r\n", COMMAND * PATIENCE)
        self.m.send("q")
        self.m.read_until(rb"PASS disk_writer", COMMAND * PATIENCE)
        self.m.read_until(PROMPT, COMMAND * PATIENCE)
        self.end()
        expect(contents(self.image, "beside") == self.beside, "the partition beside it has changed")


@scenario(bound=100, slow=True)
def moments_disks(lab):
    """Memory and disks, in memory and of a drive, are of one moment: two snapshots, put back in any order, one forgotten,
    one put back into another life of the VM."""
    p = Writing(lab)
    p.key("w", 1)
    p.key("w", 2)
    expect_in(r"^a: is kept as 'one'$", p.run("snapshot a one"), "snapshot")
    p.key("w", 3)
    p.key("w", 4)
    p.key("r", 4)
    expect_in(r"^a: is kept as 'two'$", p.run("snapshot a two"), "snapshot")
    p.key("w", 5)
    for name, turn in (("one", 2), ("two", 4), ("one", 2)):
        expect_in(rf"^a: is what was kept as '{name}'$", p.run(f"restore a {name}"), "restore")
        p.key("r", turn)
        p.key("w", turn + 1)
        p.key("r", turn + 1)
    expect_in(r"^a: 'two' is forgotten$", p.run("forget a two"), "forget")
    p.key("w", 4)
    expect_in(r"^a: is killed", p.run("kill a"), "kill")
    p.wait_for("^a +killed")
    expect_in(r"^ +\d+ +data +1M +a has snapshots$", p.run("disks"), "disks")
    expect_in(r"^a: starts", p.run("start a"), "start")
    expect_in(r"^a: is what was kept as 'one'$", p.run("restore a one"), "restore")
    p.key("r", 2)
    p.over()


@scenario(bound=100)
def moments_disks_memory(lab):
    """There is no memory for what a disk held: the VM stands still in its write, until a snapshot is forgotten, or put back."""
    p = Writing(lab, snapshot_memory="64K")
    p.key("w", 1)
    expect_in(r"^a: is kept as 'one'$", p.run("snapshot a one"), "snapshot")
    p.stalls()
    expect_in(r"^a waits for memory to keep what is on its disk", p.run("snapshot a two"), "snapshot")
    expect_in(r"^a: goes on", p.run("resume a"), "resume")  # there is not more of it
    p.wait_for("^a +paused")
    expect_in(r"^a: is what was kept as 'one'; it stands still$", p.run("restore a one"), "restore")
    expect_in(r"^a: goes on", p.run("resume a"), "resume")
    p.key("r", 1)
    p.stalls()
    expect_in(r"^a: 'one' is forgotten$", p.run("forget a one"), "forget")
    expect_in(r"^a: goes on", p.run("resume a"), "resume")
    p.key("r", 2)
    p.over()


@scenario(bound=500, slow=True)
def moments_debian(lab):
    """Debian's kernel with two vCPUs hashes in its initrd's shell, is kept in the middle of that, and put back twenty times:
    each time it comes to the right sum."""
    initrd, digest = random_initrd(lab)
    m = lab.boot(host(without="vid") + linux("debian", initrd=initrd, cpus=2), memory=768)
    s = Shell(m)
    prove(s, digest)
    s.run("yes corbel | head -c 1000000 >/tmp/f")
    s.run("R=$(sha256sum </tmp/f)")
    m.send("for i in 1 2 3 4 5 6 7 8; do [ \"$(sha256sum < /tmp/f)\" = \"$R\" ] && echo same $((i*111)) || echo wrong $i; done; "
           "echo all-$((6*7))\r")
    m.read_until(rb"same 222\r\n", 4 * COMMAND * PATIENCE)
    p = Monitor(m)
    p.enter()
    expect_in(r"debian: is kept as 'hashing'$", p.run("snapshot debian hashing", 4 * COMMAND), "snapshot")
    for _ in range(20):
        m.send(LEAVE)
        m.read_until(rb"same 444\r\n", 8 * COMMAND * PATIENCE)
        p.enter()
        expect_in(r"debian: is what was kept as 'hashing'$", p.run("restore debian hashing", 4 * COMMAND), "restore")
    m.send(LEAVE)
    m.read_until(rb"all-42\r\n", 8 * COMMAND * PATIENCE)
    s.prompt(COMMAND)
    said = s.run("dmesg")
    for word in ("Marking TSC unstable", "rcu_sched detected stalls", "soft lockup", "Bad page", "BUG"):
        expect(word not in said, f"dmesg has {word!r}")
    expect(not re.search(r"wrong \d", m.text()), "a sum is wrong")
    prove(s, digest)
    s.poweroff()
