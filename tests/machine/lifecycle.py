"""VMs that come and go: whatever they took is given back, to the frame."""
from harness import COMMAND, PATIENCE, expect, expect_in, scenario
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


@scenario(bound=60)
def fifty_lives(lab):
    """52 VMs are made and end, and every frame comes back."""
    cycles(lab, 13)


@scenario(bound=240, slow=True)
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
