"""The second serial port in frames: tools/com2 alone, and the trace and gdb at once."""
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zlib

import gdb
from gdb import Debugger
from harness import (BOOT, BUILD, COMMAND, FIRMWARE, PATIENCE, TOP, expect, expect_in, host, scenario, vm,
                     wait_for_power_off)
from monitor import PROMPT
from smp import Host, tiny

sys.path.insert(0, os.path.join(TOP, "tools"))
import com2_screen  # noqa: E402
import com2_stream as cs  # noqa: E402
import trace_stream as ts  # noqa: E402

TOOL = os.path.join(TOP, "tools/com2")
MODEL_TEST = os.path.join(BUILD, "unit/test_com2_mux")  # the encoder and the decoder of Corbel's side


def read(path):
    with open(path, "rb") as f:
        return f.read()


def tool(*arguments, status=0, stdin=b"", timeout=30):
    """What it writes to standard output, and what it says."""
    p = subprocess.run([TOOL, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                       timeout=timeout)
    said = p.stderr.decode()
    expect(p.returncode == status and "Traceback" not in said, f"tools/com2 {' '.join(arguments)} ends with {p.returncode}: {said}")
    return p.stdout, said


class Live:
    """tools/com2 at a line whose other end is ours."""

    def __init__(self, lab, *arguments, address=None):
        self.server = None if address else socket.create_server(("127.0.0.1", 0))
        address = address or "127.0.0.1:%d" % self.server.getsockname()[1]
        self.p = lab.spawn([TOOL, address, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.p.stderr.fileno(), False)
        self.said, self.heard, self.sequence = "", b"", {}
        self.stream = cs.Stream()
        self.wire = self.server.accept()[0] if self.server else None

    def wait_for(self, pattern, seconds=COMMAND, meanwhile=lambda: None):
        until = time.monotonic() + seconds * PATIENCE
        while not (found := re.search(pattern, self.said)):
            expect(time.monotonic() < until and self.p.poll() is None, f"tools/com2 does not say {pattern}: {self.said}")
            select.select([self.p.stderr], [], [], 0.05)
            self.said += (self.p.stderr.read() or b"").decode()
            meanwhile()
        return found

    def send(self, channel, payload, lose=0):
        """As Corbel would; lose: so many frames before it are lost on the way."""
        number = self.sequence.get(channel, 0) + lose
        self.sequence[channel] = number + 1
        self.wire.sendall(cs.pack(channel, number, payload))

    def receive(self, channel, size):
        """What the tool has sent on a channel, when it is that much."""
        self.wire.settimeout(COMMAND * PATIENCE)
        out = b""
        while len(out) < size:
            for f in self.stream.feed(self.wire.recv(4096)):
                out += f.payload if f.channel == channel else b""
        return out

    def end(self, status=0):
        """By Ctrl-C."""
        self.p.send_signal(signal.SIGINT)
        return self.ended(status)

    def ended(self, status=0):
        out, said = self.p.communicate(timeout=COMMAND * PATIENCE)
        self.said += said.decode()
        expect(self.p.returncode == status and "Traceback" not in self.said, f"tools/com2 ends with {self.p.returncode}: {self.said}")
        return out


def status(began=7, off=(), **lost):
    """A status as Corbel sends it."""
    out = cs.STATUS_HEAD.pack(cs.STATUS, cs.VERSION, began, 0, 0, 0)
    for number, name in enumerate(cs.NAMES):
        numbers = [0, lost.get(name, 0), 100 * lost.get(name, 0), 0, 0, 0, 0]
        out += bytes([number, name not in off, len(name)]) + name.encode() + cs.STATUS_CHANNEL.pack(*numbers)
    return out


def check_stream(lab):
    """A stream from the encoder itself, with text between the frames, frames lost and damaged, and queues too small."""
    path, out, gdb_out = lab.path("line"), lab.path("out"), lab.path("gdb")
    said = subprocess.run([MODEL_TEST, "--stream", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    made = {name: int(n) for name, n in re.findall(r"(\w+) (\d+)", said)}
    expect(min(made.values()) > 10, f"the stream is too good: {made}")
    _, said = tool(path, "--trace", out, "--channel", f"gdb={gdb_out}")
    expect_in(rf"com2: trace: {made['sent'] - made['lost']} frames, {os.path.getsize(out)} bytes\n", said, "the tool")
    expect_in(rf"com2: {made['lost']} frames of trace lost on the line\n", said, "the tool")
    expect_in(rf"com2: {made['dropped']} frames of trace dropped in Corbel, which had no room for them\n", said, "the tool")
    expect_in(rf"com2: {made['garbage']} bytes that belong to no frame\n", said, "the tool")
    expect(read(gdb_out) == b"".join(b"<%d>" % n for n in range(0, 2000, 20)), "gdb's channel has changed on the way")
    piped, again = tool("-", "--trace", "-", "--keep", lab.path("kept"), stdin=read(path))
    expect(piped == read(out) and read(lab.path("kept")) == read(path), "by standard input: something else")
    expect(made["dropped"] and f"{made['dropped']} frames of trace dropped" in again, again)
    whole = cs.Stream()
    frames = whole.feed(read(path)) + whole.give_up()
    one = cs.Stream()
    piecewise = [f for byte in read(path) for f in one.feed(bytes([byte]))] + one.give_up()
    expect(frames == piecewise and one.losses() == whole.losses(), "byte by byte: something else")
    late = cs.Stream()
    late.feed(read(path)[len(read(path)) // 2:])
    expect(0 < late.channels[cs.TRACE].missing <= made["lost"], f"joined late: {late.losses()}")
    for seed in range(300):
        cs.Stream().feed(os.urandom(seed) + cs.SYNC + os.urandom(300) + cs.pack(seed % 256, seed, os.urandom(seed % 257)))
        cs.Stream().feed(cs.pack(0, 0, status()[:seed % 120]))


def check_to_corbel(lab):
    """What the tool sends is what Corbel's decoder reads."""
    sender = cs.Sender()
    path = lab.file("said", sender.hello() + sender.frames(cs.GDB, b"+$qSupported#37") + b"noise" + sender.frames(
        cs.GDB, b"x" * 60) + cs.pack(cs.GDB, 9, b"end"))
    said = subprocess.run([MODEL_TEST, "--read", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    expect("+$qSupported#37" + "x" * 60 + "end\n" in said, said)
    expect_in(r"hello 1 frames 3 missing 7 skipped 5 damaged 0", said, "Corbel's decoder")


def check_refusals(lab):
    """What cannot be is said before anything is read; what a line without frames carries is named."""
    line = lab.file("some", cs.pack(cs.TRACE, 0, b"x"))
    for arguments, text, code in (
            ((lab.path("none"),), "none: No such file", 1), ((lab.folder,), "Is a directory", 1),
            ((line, "--gdb", "0"), "nobody is there who could answer gdb", 1), ((line, "--trace", line), "is what is read", 1),
            ((line, "--trace", lab.path("no/where")), "no/where: No such file", 1), ((line, "--gdb", "gdb"), "a TCP port, 0 to", 2),
            ((line, "--gdb", "65536"), "a TCP port, 0 to", 2), ((line, "--channel", "trace"), "it takes NAME=FILE", 2),
            ((line, "--trace", "a", "--channel", "trace=b"), "goes to b already", 2), (("127.0.0.1:1",), "refused", 1),
            (("127.0.0.1:99999",), "no such TCP port", 1),
            ((line, "--channel", f"other={lab.path('s')}"), "Corbel has no channel other: trace", 1)):
        expect_in(text, tool(*arguments, status=code)[1], "the tool")
    expect(read(line), "the tool has emptied what it reads")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        said = tool("127.0.0.1:%d" % other.getsockname()[1], "--gdb", str(taken.getsockname()[1]), status=1)[1]
        expect_in(r"--gdb \d+: Address already in use", said, "the tool")
    expect_in("is empty", tool(lab.file("empty"), status=1)[1], "the tool")
    expect_in(r"400 bytes have come, and no frame: has corbel.conf `com2 = framed`", tool(lab.file("text", b"text" * 100), status=1)[1],
              "the tool")
    plain = lab.path("plain")
    subprocess.run([os.path.join(BUILD, "unit/test_trace"), "--stream", plain], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True)
    expect_in("this is a plain trace, which tools/trace reads as it is", tool(plain, status=1)[1], "the tool")
    newer = cs.pack(cs.CONTROL, 0, bytes([cs.STATUS, cs.VERSION + 1]) + status()[2:])
    expect_in("frames are of version 2; this tool reads version 1", tool(lab.file("newer", newer), status=1)[1], "the tool")


def screen_record(kind, number, y=0, body=b""):
    return b"\xd5\xc3" + bytes([kind, number]) + y.to_bytes(2, "little") + len(body).to_bytes(2, "little") + body


def check_screens(lab):
    """Pictures become PNG files; of one that is not whole there is none."""
    begin = screen_record(1, 1, 0, bytes([3, 0, 2, 0]) + b"a/b")
    row = screen_record(2, 1, 0, b"\0\0abc" + b"\1\x40xyz")  # one point, then two alike
    again = screen_record(2, 1, 1, b"\2\x80")  # all as above
    end = screen_record(3, 1, 0, zlib.crc32(b"abcxyzxyz" * 2).to_bytes(4, "little"))
    folder = lab.path("pictures")
    line = b"".join(cs.pack(cs.SCREEN, n, payload) for n, payload in enumerate(
        (begin, row + again[:5], again[5:] + end, b"noise", begin, row, end, begin, row, again, screen_record(3, 1, 0, bytes(4)), begin,
         screen_record(2, 1, 0, b"\3\0"), again, screen_record(2, 1, 0, b"\7\x80"), screen_record(1, 1, 0, bytes(4)), begin + row + again + end)))
    _, said = tool(lab.file("pictures.line", line), "--screens", folder)
    for n in 1, 2:
        expect_in(rf"com2: screen: {folder}/a_b-{n}\.png, 3 by 2 points\n", said, "the tool")
    expect_in(r"com2: screen: \d pictures did not come whole", said, "the tool")
    expect(sorted(os.listdir(folder)) == ["a_b-1.png", "a_b-2.png"], f"{os.listdir(folder)}")
    data = read(os.path.join(folder, "a_b-1.png"))
    at = data.index(b"IDAT")
    expect(zlib.decompress(data[at + 4:at + 4 + int.from_bytes(data[at - 4:at], "big")]) == b"\0abcxyzxyz" * 2, "the points")
    expect_in("File exists", tool(lab.path("pictures.line"), "--screens", lab.path("pictures.line"), status=1)[1], "the tool")
    for seed in range(200):
        com2_screen.Screens().feed(os.urandom(seed) + begin + os.urandom(seed) + row + os.urandom(300))


def check_live(lab):
    """Both ways at once; gdb comes and goes; losses are said while they happen."""
    live = Live(lab, "--gdb", "0", "--trace", lab.path("live"))
    port = int(live.wait_for(r"target remote 127.0.0.1:(\d+)")[1])
    live.receive(cs.CONTROL, 1)
    expect(live.stream.channels[cs.CONTROL].frames == 1, "no hello")
    live.send(cs.CONTROL, status(off=["trace"]))
    live.wait_for(r"trace: Corbel has it off: `trace = all`")
    live.wait_for(r"gdb: Corbel has it on")
    live.send(cs.GDB, b"for nobody")
    time.sleep(0.5)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(COMMAND * PATIENCE)
        s.sendall(b"+$?#3f")
        expect(live.receive(cs.GDB, 6) == b"+$?#3f", "what gdb says")
        live.send(cs.TRACE, b"one ")
        live.send(cs.GDB, b"$T05#b9")
        expect(s.recv(100) == b"$T05#b9", "what gdb hears")
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.settimeout(COMMAND * PATIENCE)
            expect(s.recv(100) == b"", "the gdb before is still there")
            live.send(cs.GDB, b"$OK#9a")
            expect(other.recv(100) == b"$OK#9a", "what the new gdb hears")
    live.send(cs.TRACE, b"two", lose=3)
    live.wait_for(r"3 frames of trace lost on the line")
    live.send(cs.CONTROL, status(trace=12))
    live.wait_for(r"12 frames of trace dropped in Corbel")
    live.wire.sendall(cs.pack(cs.TRACE, 5, b"half")[:9])  # and nothing behind it: what comes later is found
    time.sleep(1.5 * max(1, PATIENCE / 4))
    live.send(cs.TRACE, b" three")
    live.sequence.clear()
    live.send(cs.CONTROL, status(began=8))  # Corbel has started again
    live.send(cs.TRACE, b" four")
    until = time.monotonic() + COMMAND * PATIENCE
    while read(lab.path("live")) != b"one two three four":
        expect(time.monotonic() < until, f"the trace: {read(lab.path('live'))}")
        time.sleep(0.05)
    live.end()
    expect_in(r"10 bytes of gdb's came while nobody was there", live.said, "the tool")
    expect_in(r"trace: 4 frames, 18 bytes\n", live.said, "the tool")
    expect_in(r"3 frames of trace lost on the line", live.said, "the tool")


def check_pty(lab):
    live = Live(lab, "--gdb", "pty")
    path = live.wait_for(r"target remote (/dev/pts/\d+)")[1]
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"+$g#67\r\3")
    expect(live.receive(cs.GDB, 8) == b"+$g#67\r\3", "what gdb says at a terminal")
    live.send(cs.GDB, b"$0\n0#60")
    expect(os.read(fd, 100) == b"$0\n0#60", "what gdb hears at a terminal")
    os.close(fd)
    live.wire.close()
    live.ended()
    # A line that is a terminal itself: the tool sets it so that every byte passes.
    mine, theirs = os.openpty()
    live = Live(lab, "--trace", "-", address=os.ttyname(theirs))
    live.wait_for("listening at /dev/pts")
    everything = bytes(range(256))
    os.write(mine, cs.pack(cs.TRACE, 0, everything))
    expect(os.read(live.p.stdout.fileno(), 1000) == everything, "bytes change on a terminal")
    expect(os.read(mine, 100) == cs.Sender().hello(), "the tool's hello changes on a terminal")
    live.end()


@scenario(bound=60)
def com2_tool(lab):
    """tools/com2 on a line whose other end is the test, and on streams from Corbel's own encoder."""
    check_stream(lab)
    lab.verdict("com2: what is sent is read, and losses add up")
    check_to_corbel(lab)
    lab.verdict("com2: what the tool sends Corbel reads")
    check_refusals(lab)
    lab.verdict("com2: refusals, and lines without frames")
    check_screens(lab)
    lab.verdict("com2: screenshots")
    check_live(lab)
    lab.verdict("com2: gdb and a trace at once")
    check_pty(lab)
    lab.verdict("com2: pseudo-terminals")


# --- from a machine ---


class Framed:
    """A machine whose second serial port carries frames, and the tool at its other end from the start."""

    def __init__(self, lab, m, *arguments):
        self.m, self.trace = m, lab.path("trace")
        self.live = Live(lab, "--gdb", "0", "--trace", self.trace, "--keep", lab.path("line"), *arguments,
                         address=f"127.0.0.1:{m.gdb_port}")
        self.gdb_port = int(self.live.wait_for(r"target remote 127.0.0.1:(\d+)")[1])
        self.pump = m.pump


def exits_of(text):
    return int(expect_in(r"^corbel:   VM exits: (\d+)", text)[1])


@scenario(bound=150)
def com2_trace_and_gdb(lab):
    """A VM is traced while gdb debugs it, over one line; both are whole, and the monitor shows who has the port."""
    m = lab.boot(host(com2="framed", trace="exits", gdb="com2", trace_memory="4M", when_idle="poweroff") +
                 vm("debugged", lab.guest("debugged"), memory="16M", paused="yes"), gdb=0)
    f = Framed(lab, m)
    m.read_until(r"^corbel: com2: the second serial port carries frames: tools/com2 takes them apart\r?$", FIRMWARE * PATIENCE)
    m.read_until(r"^corbel: gdb: a debugger may connect to the second serial port, through tools/com2\r?$", COMMAND * PATIENCE)
    gdb.check_session(gdb.gdb(lab, f, gdb.SESSION))
    m.read_until("^PASS debugged\r?$", COMMAND * PATIENCE)
    wait_for_power_off(m)
    f.live.ended()
    stream, records = ts.load(read(f.trace))
    total = exits_of(m.text())
    expect(not (stream.losses or stream.missing or stream.damaged or stream.skipped), stream.summary(records))
    expect(len(records) == total > 20, f"{len(records)} exits in the trace, {total} in the summary")
    expect_in(r"com2: gdb: \d+ frames, \d{4,} bytes", f.live.said, "tools/com2")
    for lost in ("lost", "dropped", "damaged", "had no room"):
        expect(lost not in f.live.said, f.live.said)
    expect(ts.load(read(lab.path("line")))[1] == records, "tools/trace finds something else in the line itself")
    line = cs.Stream()
    line.feed(read(lab.path("line")))
    told = line.channels[cs.TRACE].told
    expect(told.sent == line.channels[cs.TRACE].frames and told.lost_frames == 0, f"the last status: {told}")


@scenario(bound=150)
def com2_monitor(lab):
    """gdb at work while the trace has more than the line carries: gdb is answered, the rest waits and is counted; garbage
    from the line is counted, too, and `com2` shows all of it."""
    p = Host(lab, tiny(lab, "debugged", "debugged_reset", paused="yes") + tiny(lab, "busy", "floods"),
             keys={"com2": "framed", "gdb": "com2", "trace": "exits", "trace_memory": "16K", "when_idle": "stay"}, gdb=0)
    f = Framed(lab, p.m)
    said = p.run("com2")
    expect_in(r"^the second serial port \(2F8h\) carries frames", said, "com2")
    expect_in(r"^CHANNEL +USED +SENT +BYTES +WAIT +LOST +HEARD +BYTES +LOST +MISSED$", said, "com2")
    g = Debugger(lab, f, lab.guest("debugged_reset.elf"))
    g.run("hbreak born")
    expect_in(r"Breakpoint 1, .*born \(n=(?:n@entry=)?1\)", g.run("continue"), "gdb")
    for _ in range(3):
        expect_in(r"rip +0x", g.run("info registers"), "gdb")
    with socket.create_connection(("127.0.0.1", p.m.gdb_port)) as s:  # takes the tool's place
        s.sendall(b"corbel: garbage \xa5\xc2\0" + cs.pack(77, 0, b"to nobody") + cs.pack(cs.TRACE, 0, b"unread"))
        said = p.wait_for(r"heard beside: [1-9]\d* bytes of no frame, \d+ damaged frames, 1 for no channel$", "com2")
    rows = {name: [int(n) for n in numbers.split()] for name, numbers in
            re.findall(r"(?m)^(control|gdb|trace) +yes((?: +\d+)+)$", said)}
    expect(len(rows) == 3 and all(len(r) == 8 for r in rows.values()), said)
    sent, size, _, lost, heard, *_ = rows["gdb"]
    expect(sent > 10 and size > 1000 and heard > 10 and lost == 0, said)
    expect(rows["trace"][0] > 20 and rows["trace"][6] == 1, said)
    expect(int(expect_in(r"^\d+ records, \d+ of them to be sent, (\d+) lost", p.run("trace"), "trace")[1]) > 0, "no loss")
    f.live.ended(0)
    stream, records = ts.load(read(f.trace))
    expect(stream.losses and records and not stream.missing, stream.summary(records))
    p.end()


@scenario(bound=60)
def com2_without_port(lab):
    """Frames, and no second serial port: it is said, and the VM runs all the same."""
    m = lab.boot(host(com2="framed", gdb="com2", trace="exits") + vm("a", lab.guest("cpuid_signature"), memory="16M"))
    m.read_until("^PASS cpuid_signature", (FIRMWARE + BOOT) * PATIENCE)
    wait_for_power_off(m)
    for sentence in ("com2: there is no second serial port", "gdb: there is no second serial port",
                     "trace: there is no second serial port"):
        expect_in(f"^corbel: warning: {sentence}", m.text())


@scenario(bound=60)
def com2_plain(lab):
    """`com2` says who has a plain port."""
    p = Host(lab, tiny(lab, "a"), {"when_idle": "stay"}, com2=lab.path("com2"))
    expect_in(r"^the second serial port \(2F8h\) is nobody's", p.run("com2"), "com2")
    p.run("trace on a exits")
    p.wait_for(r"^the second serial port \(2F8h\) is plain: trace has it", "com2")
    p.wait_for(r"^[1-9]\d* bytes sent", "com2")
    p.end()
