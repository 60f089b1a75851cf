"""What passes on a network, captured: tools/com2 on a line that loses frames, and small guests at a switch."""
import os
import re
import shutil
import subprocess

import pcapng
from com2 import read, status, tool
from harness import BUILD, COMMAND, PATIENCE, expect, expect_in, scenario
from smp import Host, tiny

import com2_capture
import com2_stream as cs

MODEL_TEST = os.path.join(BUILD, "unit/test_capture")  # what Corbel sends
FLOOD, LONGEST = 240, 1514  # tests/guests/net_talk.c


def check_tcpdump(path, packets):
    """A stock reader finds as many packets, where there is one."""
    if not shutil.which("tcpdump"):
        return
    p = subprocess.run(["tcpdump", "-n", "-r", path, *(["-Z", "root"] if os.geteuid() == 0 else [])], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    found = len(re.findall(r"(?m)^\d\d:\d\d:\d\d\.", p.stdout))
    expect(p.returncode == 0 and found == packets, f"tcpdump reads {found} packets of {packets}: {p.stderr}")


def check_stream(lab):
    """From Corbel's own encoder, with a stretch in which the line loses each hundredth frame."""
    line, out, raw = lab.path("line"), lab.path("out.pcapng"), lab.path("raw.pcapng")
    said = subprocess.run([MODEL_TEST, "--stream", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    total, lost = map(int, expect_in(r"^packets (\d+) lost-frames (\d+)$", said, "test_capture").groups())
    _, said = tool(line, "--capture", out)
    f = pcapng.read(out)
    marks = [p.data[14] for p in f.packets]
    first, second = f.sections
    expect(len(f.sections) == 2 and [i.name for i in first] == ["a/0", "a/1", "b/0"] and [i.name for i in second] == ["b/0"],
           f"{f.sections}")
    expect(all(len(i.statistics) == 1 for i in first + second), "statistics are not there once")
    expect(marks[:101] == list(range(101)) and marks[-1] == 202, "packets of the good stretches are missing")
    expect(f.packets[100].comment == "not passed on: nobody there" and not any(p.comment for p in f.packets[:100]), "comments")
    bad, slow = marks.count(200), marks.count(201)
    seen = [i.statistics[0] for i in first]
    expect(sum(s.matched for s in seen) == 101 + 2000 and seen[1].lost == 1000 - slow > 100, f"{seen}, {slow} packets")
    expect(300 < bad < 1000, f"of 1000 packets {bad} are there")
    expect_in(rf"com2: {re.escape(out)}: {len(marks)} packets\n", said, "the tool")
    expect_in(rf"com2: {seen[1].lost} captured packets dropped in Corbel", said, "the tool")
    expect_in(rf"com2: {lost} frames of capture lost on the line", said, "the tool")
    left = int(expect_in(r"com2: (\d+) captured packets left out", said, "the tool")[1])
    expect(total - 3 * lost <= len(marks) + left <= total, f"{len(marks)} packets and {left} left out, of {total}")
    check_tcpdump(out, len(marks))
    piped, _ = tool("-", "--capture", "-", stdin=read(line))
    expect(piped == read(out), "by a pipe: something else")
    tool(line, "--channel", f"capture={raw}")
    for arguments, text in ((("--capture", "x", "--channel", "capture=y"), "only one of them"),
                            (("--capture", "-", "--trace", "-"), "standard output can have one channel only")):
        expect_in(text, tool(line, *arguments, status=2)[1], "the tool")


def frames(data):
    stream = cs.Stream()
    return stream.feed(data) + stream.give_up()


def file_of(sent):
    """The file that comes of (sequence, payload)s, which has to be a good one, and what reads them."""
    c = com2_capture.Capture()
    data = b"".join(c.feed(*f) for f in sent) + c.end()
    return (pcapng.File(data) if data else None), c


def check_line(lab):
    """A reader that joins anywhere, anything lost, garbage, another start: what comes out is a file, and no packet is told
    as one of another interface."""
    sent = [(f.sequence, f.payload) for f in frames(read(lab.path("line"))) if f.channel == cs.CAPTURE]
    for at in range(0, len(sent), 97):
        f, _ = file_of(sent[at:])
        for p in f.packets if f else ():
            name = f.sections[p.section][p.interface].name
            whose = {1: "a/0", 2: "a/1", 3: "b/0"}[p.data[11]]
            expect(name == (whose if p.flags & 3 == pcapng.OUTBOUND else "b/0"), f"{name}: {p}")
    # What looks like a block, in a packet whose beginning is lost, is none.
    fake = b"".join([(6).to_bytes(4, "little"), (256).to_bytes(4, "little"), bytes(244), (256).to_bytes(4, "little")])
    section, interfaces = sent[0], [s for s in sent if s[1][:4] == b"\1\0\0\0"][:3]
    good = [section[1], *(i[1] for i in interfaces)]
    f, c = file_of(list(enumerate(good)) + [(9, fake), (10, fake), (11, b"the end"), (12, section[1])])
    expect(not f.packets and c.left_out == 0, "a packet's inside was taken for a packet")
    # Corbel starts again: sequence numbers and interfaces are others.
    c = com2_capture.Capture()
    c.control(7)
    out = b"".join(c.feed(n, payload) for n, payload in enumerate(good))
    c.control(8)
    packet = next(s[1] for s in sent if s[1][:4] == b"\6\0\0\0" and len(s[1]) < 256)
    out += c.feed(0, packet)
    expect(len(pcapng.File(out).packets) == 0 and c.left_out == 1, "a packet of another start was taken")
    expect(c.feed(1, b"") == b"" and c.feed(2, b"short") == b"", "garbage")
    for seed in range(200):
        file_of([(n, os.urandom(seed % 257)) for n in range(20)])
        file_of([(0, section[1]), (1, os.urandom(8) + bytes(seed)), (2, good[1][:seed]), (3, good[1])])
    c = com2_capture.Capture()
    c.feed(0, section[1])
    for n in range(1000):  # no more of them than there can be
        c.feed(n + 1, good[1])
    expect(len(c.interfaces) == com2_capture.INTERFACES_MAX, f"{len(c.interfaces)} interfaces")
    beyond = packet[:8] + len(c.interfaces).to_bytes(4, "little") + packet[12:]
    expect(c.feed(1001, packet) == packet and c.feed(1002, beyond) == b"", "a packet of an interface that the file has not")
    off = lab.file("off", cs.pack(cs.CONTROL, 0, status()))
    expect_in(r"none\.pcapng: 0 packets\n", tool(off, "--capture", lab.path("none.pcapng"))[1], "the tool")


@scenario(bound=60)
def capture_tool(lab):
    """tools/com2 makes one good capture file of what Corbel's encoder sends, whatever the line has lost of it."""
    check_stream(lab)
    lab.verdict("capture: a line that loses frames")
    check_line(lab)
    lab.verdict("capture: late readers, garbage, another start")


# --- from a machine ---


def row(said, name):
    """What `capture` shows of a card: seen, taken, lost."""
    return tuple(map(int, expect_in(rf"^{name} +lan +- +(\d+) +(\d+) +(\d+)$", said, "capture").groups()))


def talk(p, name, letters):
    """What that guest has heard, when it has done all of it."""
    p.m.send(f"console {name}\r")
    p.m.read_until(rb"corbel: console of %s: Ctrl-\] for the monitor\r\n" % name.encode(), COMMAND * PATIENCE)
    for letter in letters:
        p.done[name] += 1
        p.m.send(letter)
        heard = p.m.read_until(rb"^%d: did '%s', heard (\d+)\r\n" % (p.done[name], letter.encode()), 3 * COMMAND * PATIENCE)
    p.enter()
    return int(heard[1])


def finish(p):
    expect_in(r"^capture: off; \d+ packets have yet to be sent$", p.run("capture off"), "capture off")
    p.wait_for(r"^nothing is captured$", "capture", 4 * COMMAND)


@scenario(bound=180)
def capture_small(lab):
    """Two small guests at a switch: a filter on the switch, one on a VM, and a flood that the line is too slow for; the
    file has what the monitor says, and no frame waits or is lost for it."""
    net = "lan,model=e1000,mac=52:00:00:00:00:0"
    p = Host(lab, tiny(lab, "a", "net_talk", net=net + "1") + tiny(lab, "b", "net_talk", net=net + "2") + "[switch lan]\n",
             {"com2": "framed", "when_idle": "stay"}, com2=lab.path("com2"))
    p.done = {"a": 0, "b": 0}
    for name in p.done:
        p.wait_for(rf"^{name}/0 +52:00:00:00:00:0\d +- +up +\d+ +\S+ +\d+ +\S+ +\d+$", "switch lan")  # its driver is there
    expect_in(r"^nothing is captured$", p.run("capture"), "capture")
    for command, answer in (("lan tcp 80", r"^'80' stands where `and` or `or` is expected$"),
                            ("wan", r"^there is no switch and no VM 'wan': nets and list show them$"),
                            ("a/1", r"^a has the network cards 0 to 0$"), ("lan snap 13", r"^snap is .*, 14 to 9234: snap 1514$"),
                            ("off", r"^nothing is captured$")):
        expect_in(answer, p.run("capture " + command), command)
    p.m.send("capture l\t")
    p.m.read_until(rb"capture l(?:\x1b\[K)?an ", COMMAND * PATIENCE)
    p.m.send("not udp\r")
    p.m.read_until(rb"capture: lan, 128 bytes of each frame, not udp: on; `tools/com2 LINE --capture FILE`", COMMAND * PATIENCE)
    talk(p, "a", "aux")
    said = p.run("capture")
    expect_in(r"^capture: lan, 128 bytes of each frame, not udp$", said, "capture")
    expect(row(said, "a/0") == (3, 2, 0), said)
    finish(p)
    expect_in(r": on; ", p.run("capture b snap 60 udp port 7 and host 10.0.0.1"), "capture b")
    talk(p, "a", "ua")
    talk(p, "b", "ua")
    expect(row(p.run("capture"), "b/0") == (4, 2, 0), "capture b")
    finish(p)
    before = talk(p, "b", "h")
    expect_in(r": on; ", p.run(f"capture lan snap {LONGEST}"), "capture lan")
    talk(p, "a", "f")
    said = p.run("capture")
    seen, taken, lost = row(said, "a/0")
    expect(seen == FLOOD == taken + lost and lost > 0, said)
    expect(talk(p, "b", "h") == before + FLOOD, "frames were lost")
    finish(p)
    p.end()
    expect_in(rf"corbel: capture: lan, {LONGEST} bytes of each frame: all of its packets are sent: {taken}; for {lost} there was no room",
              p.m.text(), "the log")
    check_file(lab, taken, lost)


def check_file(lab, taken, lost):
    out = lab.path("out.pcapng")
    _, said = tool(lab.path("com2"), "--capture", out)
    f = pcapng.read(out)
    expect([re.sub(r"begun \d+", "begun", c) for c in f.comments] ==
           ["capture 1, begun: lan, 128 bytes of each frame, not udp",
            "capture 2, begun: b, 60 bytes of each frame, udp port 7 and host 10.0.0.1",
            f"capture 3, begun: lan, {LONGEST} bytes of each frame"], f"{f.comments}")
    cards = [[(i.name, i.about, i.mac[5], tuple(i.statistics[-1])) for i in s] for s in f.sections]
    expect(cards == [[("a/0", "switch lan", 1, (3, 0, 2))], [("b/0", "switch lan", 2, (4, 0, 2))],
                     [("a/0", "switch lan", 1, (FLOOD, lost, FLOOD))]], f"{cards}")
    first, second, third = ([p for p in f.packets if p.section == n] for n in range(3))
    expect([(p.data[12:14], p.length, p.comment) for p in first] ==
           [(b"\x08\x06", 60, ""), (b"\x12\x34", 60, "not passed on: forged source")], f"{first}")
    expect([(p.flags, len(p.data), p.length, p.data[23], p.data[26:34]) for p in second] ==
           [(pcapng.INBOUND, 60, 142, 17, bytes([10, 0, 0, 1, 10, 0, 0, 2])),
            (pcapng.OUTBOUND, 60, 142, 17, bytes([10, 0, 0, 2, 10, 0, 0, 1]))], f"{second}")
    expect(len(third) == taken and all(p.data[42:] == b"x" * (LONGEST - 42) for p in third), "the flood")
    numbers = [int.from_bytes(p.data[18:20], "big") for p in third]  # each datagram's
    expect(all(b - a == 1 + p.lost for a, b, p in zip(numbers, numbers[1:], third[1:])), "what was lost before each packet")
    expect(all(a.time <= b.time for a, b in zip(f.packets, f.packets[1:])), "times go back")
    expect_in(rf"com2: {lost} captured packets dropped in Corbel", said, "the tool")
    expect("lost on the line" not in said and "left out" not in said, said)
    check_tcpdump(out, len(f.packets))


@scenario(bound=60)
def capture_plain(lab):
    """Where the second serial port carries no frames it is said."""
    p = Host(lab, tiny(lab, "a", "net_talk", net="lan,model=e1000") + "[switch lan]\n", {"when_idle": "stay"})
    expect_in(r"^what is captured goes over the second serial port \(2F8h\), which carries it with `com2 = framed` in \[host\]$",
              p.run("capture lan"), "capture")
    expect_in(r"^nothing is captured$", p.run("capture"), "capture")
    p.end()
