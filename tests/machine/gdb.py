"""gdb itself, on the second serial port: docs/GDB.md."""
import os
import re
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


def gdb(lab, m, commands, timeout=60, guest="debugged"):
    """What gdb in batch mode says to these commands, with the guest's symbols."""
    script = lab.file("script.gdb", "set pagination off\nset confirm off\nset remotetimeout 30\n" +
                      f"target remote 127.0.0.1:{m.gdb_port}\n" + commands)
    p = lab.spawn(["gdb", "-nx", "-q", "-batch", "-x", script, lab.guest(guest + ".elf")], stdin=subprocess.DEVNULL,
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

    def look(self):
        """Take what it has said meanwhile."""
        said = self.p.stdout.read()
        if said:
            self.said += said.decode(errors="replace").replace("(gdb) ", "")
        else:
            self.m.pump(0.05)

    def wait(self, bound=COMMAND):
        """The output of the command that was started."""
        until, mark = time.monotonic() + bound * PATIENCE, f"\n<{self.n}>\n"
        while mark not in self.said:
            self.look()
            if mark not in self.said:
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


class Wire:
    """The protocol by hand: packets over one connection, and what comes back."""

    def __init__(self, m):
        self.m, self.got, self.ack = m, b"", True
        self.socket = socket.create_connection(("127.0.0.1", m.gdb_port))
        self.socket.setblocking(False)

    def send(self, data):
        self.socket.sendall(data)

    def listen(self, seconds):
        """What has come, or comes within that."""
        try:
            self.got += self.socket.recv(4096)
        except BlockingIOError:
            self.m.pump(seconds)

    def receive(self, pattern, bound=COMMAND):
        """Until that has come; it and what is before it are taken away."""
        until = time.monotonic() + bound * PATIENCE
        while not (found := re.search(pattern, self.got, re.DOTALL)):
            self.listen(0.02)
            expect(time.monotonic() < until, f"no {pattern} within {bound} s: {self.got[-300:]}")
        self.got = self.got[found.end():]
        return found

    def ask(self, payload, bound=COMMAND):
        """The answer to a packet."""
        payload = payload if isinstance(payload, bytes) else payload.encode()
        self.send(b"$" + payload + b"#%02x" % (sum(payload) & 255))
        if self.ack:
            self.receive(rb"^\+", bound)
        answer = self.receive(rb"^\$((?:[^#}]|\}.)*)#[0-9a-f]{2}", bound)[1]
        if self.ack:
            self.send(b"+")
        return re.sub(rb"\}(.)", lambda escaped: bytes([escaped[1][0] ^ 0x20]), answer, flags=re.DOTALL)

    def close(self):
        self.socket.close()


def addresses(lab, guest):
    """Where the symbols of a test guest are."""
    said = subprocess.run(["nm", lab.guest(guest + ".elf")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return {name: int(value, 16) for value, name in re.findall(r"(?m)^([0-9a-f]+) \w (\w+)$", said)}


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


@scenario(bound=90)
def gdb_privilege(lab):
    """While a debugger has the debug registers MOV DR exits before its privilege is checked."""
    m = boot(lab, host(gdb="com2") + vm("privilege", lab.guest("privilege"), memory="16M", paused="yes"))
    expect_in(r"exited normally", gdb(lab, m, "continue\n", guest="privilege"), "gdb")
    m.read_until("^PASS privilege\r?$", COMMAND * PATIENCE)
    wait_for_power_off(m)


@scenario(bound=120, slow=True)
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


@scenario(bound=90)
def gdb_new_protocol(lab):
    """What gdb 17 and LLDB say: several watchpoints in one stop, memory as bytes, a session without acknowledgements that
    is dropped, and those that begin behind it."""
    m = boot(lab, host(gdb="com2") + vm("debugged", lab.guest("debugged"), memory="16M", paused="yes"))
    where = addresses(lab, "debugged")
    watched, breaks = where["watched"], where["breaks"]

    def both(w):
        """Stop behind the instruction that writes `watched`, which is watched twice."""
        for point in (f"Z2,{watched:x},8", f"Z4,{watched:x},4"):
            expect(w.ask(point) == b"OK", point)
        said = w.ask("vCont;c")
        for point in (f"z2,{watched:x},8", f"z4,{watched:x},4"):
            w.ask(point)
        return said

    w = Wire(m)  # an old gdb is told of one, and then of the other
    w.send(b"+")
    features = w.ask("qSupported:swbreak+;hwbreak+")
    expect(b"binary-upload+" in features, f"features: {features}")
    expect(w.ask("?") == b"T02thread:1;", "a stop at the first instruction")
    w.ask(f"Z1,{where['outer']:x},1")  # behind what clears the variables
    expect(w.ask("vCont;c") == b"T05thread:1;hwbreak:;", "a stop at outer")
    w.ask(f"z1,{where['outer']:x},1")
    first = both(w)
    expect(first == b"T05thread:1;watch:%x;" % watched, f"an old gdb: {first}")
    at = w.ask("p10")
    second = both(w)
    expect(second == b"T05thread:1;awatch:%x;" % watched and w.ask("p10") == at, f"an old gdb again: {second}")
    expect(w.ask("QStartNoAckMode") == b"OK", "QStartNoAckMode")
    w.ack = False
    value = w.ask(f"x{watched:x},8")
    expect(value == b"b" + (16).to_bytes(8, "little"), f"watched: {value}")
    both(w)
    w.close()  # and is dropped before it is told of the other one

    w = Wire(m)  # LLDB
    w.send(b"+")
    expect(w.ask("QStartNoAckMode", 5) == b"OK", "LLDB's first question")
    w.ack = False
    expect(b"binary-upload+" in w.ask("qSupported:multi-wp-addr+"), "its second")
    expect(w.ask("?") == b"T02thread:1;", "where it stands")
    said = both(w)
    expect(said == b"T05thread:1;watch:%x;awatch:%x;" % (watched, watched), f"all that were hit: {said}")
    value = w.ask(f"x{watched:x},8")
    expect(value == b"b" + (48).to_bytes(8, "little"), f"watched: {value}")
    inner = w.ask(f"x{where['inner']:x},40")
    expect(len(inner) == 65, f"64 bytes of code: {inner}")
    for i in range(64):
        expect(w.ask(f"x{where['inner'] + i:x},1") == b"b" + inner[1 + i:2 + i], f"byte {i} of them by itself")
    expect(w.ask(b"X%x,4:\x00}\x03}\x04}\x0a" % breaks) == b"OK", "X")
    expect(w.ask(f"m{breaks:x},4") == b"0023242a", "what X has written")
    expect(w.ask(b"X%x,4:\0\0\0\0" % breaks) == b"OK", "X again")
    w.close()

    said = gdb(lab, m, "detach\n")  # gdb itself, behind a session without acknowledgements
    expect_in(r"detached", said, "gdb")
    m.read_until("^PASS debugged\r?$", COMMAND * PATIENCE)
    wait_for_power_off(m)
