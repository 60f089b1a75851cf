"""gdb itself, on the second serial port: docs/GDB.md."""
import os
import signal
import socket
import subprocess
import time

from bochs3 import bochs_3
from harness import COMMAND, FIRMWARE, PATIENCE, expect, expect_in, host, scenario, vm, wait_for_power_off

READY = "gdb: a debugger may connect"


def boot(lab, config, **options):
    m = lab.boot(config, gdb=0, **options)
    m.read_until(READY, FIRMWARE * PATIENCE)
    return m


def gdb(lab, m, commands, timeout=60):
    """What gdb in batch mode says to these commands, with the guest's symbols."""
    script = lab.file("script.gdb", "set pagination off\nset confirm off\nset remotetimeout 30\n" +
                      f"target remote 127.0.0.1:{m.gdb_port}\n" + commands)
    p = lab.spawn(["gdb", "-nx", "-q", "-batch", "-x", script, lab.guest("debugged.elf")], stdin=subprocess.DEVNULL,
                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + timeout * PATIENCE
    while p.poll() is None and time.monotonic() < until:
        m.pump(0.2)
    if p.poll() is None:
        p.kill()
    said = p.communicate()[0]
    lab.file("said.txt", said)
    expect(p.returncode == 0 and time.monotonic() < until, f"gdb ends with {p.returncode}:\n{said[-3000:]}")
    return said


class Debugger:
    """A gdb to which one talks line by line, connected to the machine."""

    def __init__(self, lab, m, *arguments):
        self.m, self.n, self.said = m, 0, ""
        self.p = lab.spawn(["gdb", "-nx", "-q", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        os.set_blocking(self.p.stdout.fileno(), False)
        for setting in ("pagination off", "confirm off", "width 0", "remotetimeout 60"):
            self.run(f"set {setting}")
        self.run(f"target remote 127.0.0.1:{m.gdb_port}")

    def start(self, command):
        """Have a command carried out; wait() has its output."""
        self.n += 1
        self.p.stdin.write(f"{command}\necho \\n<{self.n}>\\n\n".encode())
        self.p.stdin.flush()

    def wait(self, bound=COMMAND):
        """The output of the command that was started."""
        until, mark = time.monotonic() + bound * PATIENCE, f"\n<{self.n}>\n"
        while mark not in self.said:
            self.said += (self.p.stdout.read() or b"").decode(errors="replace").replace("(gdb) ", "")
            if mark not in self.said:
                self.m.pump(0.05)
                expect(self.p.poll() is None, f"gdb has ended:\n{self.said[-3000:]}")
                expect(time.monotonic() < until, f"gdb has not come back within {bound} s:\n{self.said[-3000:]}")
        said, self.said = self.said.split(mark, 1)
        return said

    def run(self, command, bound=COMMAND):
        self.start(command)
        return self.wait(bound)

    def value(self, expression):
        """A number."""
        said = self.run(f"output/d (long) ({expression})")
        return int(expect_in(r"^(-?\d+)$", said.strip(), f"gdb's {expression}")[1])

    def interrupt(self):
        """Ctrl-C; what the command says that was started."""
        self.p.send_signal(signal.SIGINT)
        return self.wait()


SESSION = r"""
info registers rip cr0 cr3 efer
break inner
continue
echo [bt]\n
bt
echo [step]\n
info symbol $pc
stepi
info symbol $pc
finish
watch watched
continue
continue
delete
hbreak step_here
continue
delete
echo [stepi]\n
set $n = 0
while $pc != (unsigned long) &step_end && $n < 30
  stepi
  set $n = $n + 1
end
printf "steps %d to %d\n", $n, $pc == (unsigned long) &step_end
echo [memory]\n
print counter
set var breaks = 1
print/x $xmm0.v4_int32[0]
x/2xb &inner
monitor phys on
x/2xb 0x100000
monitor phys off
info threads
monitor vm
watch watched
echo [end]\n
continue
"""


def check_session(said):
    expect_in(r"(?m)^rip +0x", said, "gdb")
    expect_in(r"(?m)^cr0 +0x[0-9a-f]*1\b", said, "gdb")
    expect_in(r"Breakpoint 1, .*inner \(n=(?:n@entry=)?1\)", said, "gdb")
    expect_in(r"#0 .*inner \(n=(?:n@entry=)?1\)[^#]*#1 .*outer \(n=(?:n@entry=)?1\)[^#]*#2 .* test \(\)", said, "gdb")
    expect_in(r"\[step\]\ninner in section .text\n.*\ninner \+ \d+ in section .text\nouter \(", said, "gdb")
    expect_in(r"Old value = 0\nNew value = 16", said, "gdb")
    expect_in(r"steps (\d+) to 1", said, "gdb")
    expect_in(r"\[memory\]\n\$\d+ = 6", said, "gdb")
    expect_in(r"debugged vCPU 0", said, "gdb")
    expect_in(r"\* debugged: paused", said, "gdb")
    expect_in(r"exited normally", said, "gdb")


def session(lab, **options):
    m = boot(lab, host(gdb="com2") + vm("debugged", lab.guest("debugged"), memory="16M", paused="yes"), **options)
    check_session(gdb(lab, m, SESSION))
    m.read_until("^PASS debugged\r?$", COMMAND * PATIENCE)
    wait_for_power_off(m)


@scenario(bound=90)
def gdb_session(lab):
    """Break at a function, backtrace, step, watch a variable, continue to the guest's PASS; stepping by TF."""
    session(lab)


@scenario(bound=120)
def gdb_session_monitor_trap(lab):
    """The same with the monitor trap flag, which Bochs has from 3.0 on (2.7's tigerlake announces it, and never exits)."""
    session(lab, bochs=bochs_3())


@scenario(bound=120)
def gdb_hostile(lab):
    """A gdb that sends garbage, one that dies in mid-packet and leaves a breakpoint, one that detaches; another VM."""
    m = boot(lab, host(gdb="com2", when_idle="poweroff") +
             vm("debugged", lab.guest("debugged"), memory="16M", paused="yes") +
             vm("other", lab.guest("cpuid_signature"), memory="16M"))
    m.read_until("other: ended after|PASS cpuid_signature", COMMAND * PATIENCE)  # runs while the first one waits

    def say(data, wait=1.0):
        with socket.create_connection(("127.0.0.1", m.gdb_port)) as s:
            s.sendall(data)
            s.settimeout(wait * PATIENCE)
            got = b""
            try:
                while True:
                    more = s.recv(4096)
                    if not more:
                        break
                    got += more
            except TimeoutError:
                pass
            return got

    def packet(payload):
        return b"$" + payload + b"#%02x" % (sum(payload) & 255)

    say(bytes(range(256)) * 8, 0.2)
    say(b"$" + b"a" * 5000, 0.2)
    got = say(packet(b"?"))
    expect(b"$T02thread:1;#" in got, f"after garbage: {got}")
    got = say(packet(b"m100000,ffffffff") + packet(b"mffffffffffffffff,10"))
    expect(got.count(b"$") == 2 and b"$E0e#" in got, f"4 GiB: {got[-100:]}")
    got = say(packet(b"Z0,7fffffffffff,1") + packet(b"Z2,1001,4") + packet(b"P10=ffffffffffffff7f"))
    expect(got.count(b"$E") == 3, f"impossible requests: {got}")
    names = subprocess.run(["nm", lab.guest("debugged.elf")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    inner = expect_in(r"^0*([0-9a-f]+) t inner$", names, "nm")[1].encode()
    got = say(packet(b"?") + packet(b"Z0," + inner + b",1") + packet(b"vCont;c") + b"$m1000", 3)  # and dies
    expect(b"swbreak" in got, f"no breakpoint: {got}")
    said = gdb(lab, m, "x/1xb &inner\nbreak outer\ncontinue\nbt\ndetach\n")
    expect("0xcc" not in said and "SIGTRAP" not in said, f"the dead gdb's breakpoint is still there:\n{said}")
    expect_in(r"Breakpoint 1, .*outer \(n=(?:n@entry=)?2\)", said, "gdb")
    expect_in(r"detached", said, "gdb")
    m.read_until("^PASS debugged\r?$", COMMAND * PATIENCE)
    wait_for_power_off(m)
