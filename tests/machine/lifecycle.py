"""VMs that come and go: whatever they took is given back, to the frame."""
import time

from harness import BOOT, COMMAND, FIRMWARE, PATIENCE, expect, expect_in, scenario
from monitor import LEAVE, PROMPT
from smp import Host, tiny


class Accountant(Host):
    def free(self):
        """How many frames are free."""
        return int(expect_in(r"^\S+ of RAM, (\d+) frames of 4K are free$", self.run("memory"), "memory")[1])


def cycles(lab, rounds):
    """Four VMs that are made and end, round by round: killed while they run, halt or stand still, and by their own
    reset. They have two vCPUs on two processors."""
    names = ("spins", "sleeps", "stands", "resets")
    p = Accountant(lab, "".join(tiny(lab, name, guest, memory="4M", cpus=2, autostart="no", on_reboot="stop")
                                for name, guest in zip(names, ("spin", "answer", "spin", "restarts"))),
                   {"log": "error", "when_idle": "stay"}, cpus=2)
    before = None
    for n in range(rounds):
        for name in names:
            expect_in(rf"^{name}: starts", p.run(f"start {name}"), "start")
        expect_in(r"^stands: stands still", p.run("pause stands"), "pause")
        p.wait_for(r"^stands +paused")
        for name in names[:3]:
            expect_in(rf"^{name}: is killed", p.run(f"kill {name}"), "kill")
        p.wait_for(r"spins +killed .*\n.*\n?sleeps +killed .*\nstands +killed .*\nresets +powered off ")
        if n % 10 == 0 or n == rounds - 1:
            free = p.free()
            expect(before in (None, free), f"{before} frames were free after the first round, and after {n + 1} {free}")
            before = free
    expect_in(rf"^resets .* {rounds}\b", p.run("list"), "list")
    p.end()


@scenario(bound=60, slow=True)
def fifty_lives(lab):
    """52 VMs are made and end, and every frame comes back."""
    cycles(lab, 13)


@scenario(bound=240, soak=True)
def thousand_lives(lab):
    """1000 VMs are made and end, and every frame comes back."""
    cycles(lab, 250)


@scenario(bound=90)
def creation_that_fails(lab):
    """Memory ends at each step of making a VM, one after the other: it is said, and every frame comes back."""
    p = Accountant(lab, tiny(lab, "late", memory="6M", cpus=3, autostart="no"),
                   {"log": "error", "when_idle": "stay", "test_memory": 1})

    def starts():
        """Try until it starts; the free frames after each failure."""
        free = []
        while len(free) < 500:
            p.m.send("start late\r")
            said = p.m.read_until(rb"start late\r\n(?s:(.*?))\r" + rb"corbel> ", COMMAND * PATIENCE)[1].decode()
            if "late: starts" in said:
                expect_in(r"^late: is killed", p.run("kill late"), "kill")
                p.wait_for(r"^late +killed")
                return free
            free.append(p.free())
        expect(False, "it never starts")

    expect(len(starts()) > 20, "there are not so few steps")
    before = p.free()  # with the heap's first slabs
    free = starts()
    expect(len(free) > 20 and set(free) == {before} and p.free() == before,
           f"of {before} free frames are left, after each failure: {free}; at the end {p.free()}")
    p.end()


def house(lab, **keys):
    """Nobody there listens to a power button, or there is nobody who could."""
    p = Host(lab, tiny(lab, "spins", "spin") + tiny(lab, "stands", "spin") + tiny(lab, "first", "spin", paused="yes") +
             tiny(lab, "again", "restarts") + tiny(lab, "back", "cpuid_signature", on_poweroff="restart") +
             tiny(lab, "kept", "cpuid_signature", on_poweroff="pause") + tiny(lab, "later", autostart="no"),
             {"shutdown_timeout": 4, **keys})
    p.wait_for(r"^kept +paused")
    expect_in(r"^stands: stands still", p.run("pause stands"), "pause")
    p.wait_for(r"^stands +paused(?s:.*)^first +paused")
    p.m.send("console spins\r")
    p.m.read_until(rb"corbel: console of spins", COMMAND * PATIENCE)
    p.enter()
    return p


@scenario(bound=60)
def going_down(lab):
    """The machine goes down, whoever does not listen, and with somebody at a guest's console; nothing starts meanwhile."""
    p = house(lab, when_idle="stay")
    p.m.send("poweroff\r")
    p.m.read_until(rb"waiting for \d VMs to shut down, [1-4] s: spins", COMMAND * PATIENCE)
    p.m.send(LEAVE)
    time.sleep(0.5)
    p.m.send(LEAVE)
    p.m.read_until(PROMPT, COMMAND * PATIENCE)
    expect_in(r"^later stays as it is: the machine goes down$", p.run("start later"), "start")
    p.m.send(LEAVE)
    expect(p.m.wait(BOOT * PATIENCE), "the machine did not switch itself off")
    expect_in(r"^corbel: warning: spins: did not shut down within 4 s: it is ended$", p.m.text())
    expect("later: starts" not in p.m.text(), "a VM was started")


@scenario(bound=90)
def going_down_is_called_off(lab):
    """Ctrl-C calls it off; and a reboot is one, though no VM is left at last: firmware starts Corbel again."""
    p = house(lab)
    p.m.send("poweroff\r")
    p.m.read_until(rb"waiting for \d VMs to shut down, [1-4] s: spins", COMMAND * PATIENCE)
    p.m.send("\x03")
    p.m.read_until(rb"\^C\r\n(?s:.*)" + PROMPT, COMMAND * PATIENCE)
    expect_in(r"power off: called off: the machine stays on", p.run("log 50"), "log")
    expect_in(r"^later: starts", p.run("start later"), "start")
    expect_in(r"^spins +running(?s:.*)^first +killed", p.run("list"), "list")
    p.m.send("reboot\r")
    p.m.read_until(rb"waiting for \d VMs to shut down, ", COMMAND * PATIENCE)
    p.m.send(LEAVE)
    p.m.read_until(rb"corbel: warning: spins: did not shut down within 4 s: it is ended", COMMAND * PATIENCE)
    p.m.read_until(rb"corbel: asked for at the monitor: reboot", COMMAND * PATIENCE)
    p.m.read_until(rb"corbel: Corbel's loader", FIRMWARE * PATIENCE)


@scenario(bound=60)
def going_down_in_turn(lab):
    """VMs that start in turn: the next one does not start while the machine goes down."""
    p = Host(lab, tiny(lab, "first") + tiny(lab, "second"), {"start": "in-turn", "shutdown_timeout": 1})
    p.wait_for(r"^first +running")
    p.end("poweroff\r")
    expect("second: starts" not in p.m.text(), "the second VM was started")


@scenario(bound=60)
def reset_of_paused(lab):
    """`paused = yes`: whenever it starts, be it by a reset."""
    p = Host(lab, tiny(lab, "first", "restarts", paused="yes"))
    p.wait_for(r"^first +paused")
    p.run("resume first")
    p.wait_for(r"^first +paused .* 2\b")  # it has reset itself
    expect_in(r"^first: is reset", p.run("reset first"), "reset")
    p.wait_for(r"^first +paused .* 3\b")
    p.end()
