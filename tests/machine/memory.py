"""Memory on demand: VMs that are larger than the machine, start at once, and stand still when nothing is left."""
import re

from guests import run_guests
from harness import COMMAND, PATIENCE, expect, expect_in, expect_said, scenario
from lifecycle import Accountant
from smp import tiny


@scenario(bound=60, row="guests")
def guests_without_a_promise(lab):
    """RAM is zeroes and keeps what is written: of 64 GiB the ends, and with several vCPUs all of it at once."""
    run_guests(lab, ["e820"], " with 64 GiB", memory="64G", more="overcommit = yes")
    run_guests(lab, ["smp_touch"], " with 4 vCPUs on 2, overcommitted", memory="32M", more="overcommit = yes\ncpus = 4", cpus=2)
    run_guests(lab, ["smp_touch"], " in pages of 4K", memory="16M", more="cpus = 2", host="without = ept-2m")


@scenario(bound=40)
def starts_at_once(lab):
    """64 GiB are made as quickly as 64 MiB."""
    p = Accountant(lab, tiny(lab, "small", memory="64M") + tiny(lab, "large", memory="64G", overcommit="yes"))
    p.reach("small", "large")
    small, large = (int(expect_in(r"^  made in (\d+) ticks", p.run(f"show {name}"), "show")[1]) for name in ("small", "large"))
    expect(large < 1.1 * small, f"64 MiB take {small} ticks, 64 GiB {large}")
    p.end()


def in_use(p):
    """How many MiB the hungry one has."""
    return float(expect_in(r"^  hungry: 512M of RAM, (\d+(?:\.\d)?)M in use, and it waits for more, ", p.run("memory"), "memory")[1])


@scenario(bound=90)
def out_of_memory(lab):
    """Who was promised nothing stands still when nothing is left, and goes on when there is more; others do not notice."""
    p = Accountant(lab, tiny(lab, "guard", memory="32M") + tiny(lab, "hog", memory="64M") +
                   tiny(lab, "hungry", "hungry", memory="512M", overcommit="yes", autostart="no"), memory=256)
    p.reach("guard", "hog")
    left = []
    for _ in range(2):
        expect_in(r"^hungry: starts", p.run("start hungry"), "start")
        p.wait_for(r"^hungry +out of memory", bound=4 * COMMAND)
        expect_said(p.m, r"corbel: warning: hungry: paused: it wants more memory than this machine has left for it, of which \d+ MiB "
                    r"are free: `resume hungry` when there is more")
        before = in_use(p)
        p.reach("guard", "hog")
        expect_in(r"^hungry: goes on", p.run("resume hungry"), "resume")
        p.wait_for(r"^hungry +out of memory")
        expect(abs(in_use(p) - before) < 1, "it has more, where there was none")
        expect_in(r"^hog: is killed", p.run("kill hog"), "kill")
        p.wait_for(r"^hog +killed")
        expect_in(r"^hungry: goes on", p.run("resume hungry"), "resume")
        p.wait_for(r"^hungry +out of memory", bound=4 * COMMAND)
        expect(in_use(p) > before + 50, "it has no more, where there was some")
        p.reach("guard")
        expect_in(r"^hungry: is killed", p.run("kill hungry"), "kill")
        p.wait_for(r"^hungry +killed")
        expect_in(r"^hog: starts", p.run("start hog"), "start")
        p.reach("hog")
        left.append(p.free())
    expect(left[0] == left[1], f"{left[0]} frames are free after the first time, and {left[1]} after the second")
    expect(not re.search(r"^FAIL|killed: ", p.m.text(), re.MULTILINE), "a guest failed")
    p.end()
