"""The trace: what comes over the second serial port is what happened, and other programs can read it."""
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree
from collections import Counter

from harness import (BOOT, BUILD, COMMAND, PATIENCE, TOP, Shell, expect, expect_in, host, linux, scenario, vm,
                     wait_for_corbel, wait_for_power_off)
from monitor import PROMPT
from smp import Host, tiny

sys.path.insert(0, os.path.join(TOP, "tools"))
import trace_stream as ts  # noqa: E402

TOOL = os.path.join(TOP, "tools/trace")


def tool(*arguments, status=0, **options):
    """What tools/trace prints: listing, summary."""
    p = subprocess.run([TOOL, *arguments], stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False, **options)
    expect(p.returncode == status, f"tools/trace {' '.join(arguments)} ends with {p.returncode}: {p.stderr[-2000:]}")
    return p.stdout, p.stderr


def read(path):
    with open(path, "rb") as f:
        return f.read()


# --- what others make of it ---


def check_ctf(folder, records, lost=0):
    """babeltrace2, the reference reader of the Common Trace Format, finds every event, in order, and each loss."""
    p = subprocess.run(["babeltrace2", folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False)
    expect(p.returncode == 0, f"babeltrace2: {p.stderr[-2000:]}")
    events = re.findall(r"^\[[\d:.]+\] \(\S+\) (\w+): \{ cpu_id = (\d+) \}", p.stdout, re.MULTILINE)
    expect(len(events) == len(p.stdout.splitlines()), f"babeltrace2 prints something else:\n{p.stdout[:2000]}")
    names = ("exit", "injection", "scheduling", "interrupt", "hypercall", "device", "block")
    expect(Counter(events) == Counter((names[r.kind], str(r.cpu)) for r in records),
           f"babeltrace2 finds {Counter(events)}")
    reasons = Counter(re.findall(r' reason = \( "([^"]+)" : container = ', p.stdout))
    expect(reasons == Counter(ts.title(r) for r in records if r.kind == ts.EXIT and r.code in ts.REASONS),
           f"babeltrace2's reasons: {reasons}")
    discarded = sum(int(n) for n in re.findall(r"Tracer discarded (\d+) event", p.stderr))
    expect(discarded == lost, f"babeltrace2 says that {discarded} were lost, and it is {lost}:\n{p.stderr[-1000:]}")


PHASES = {  # of Chrome's trace event format: what an event of each must have beside ph, name, pid, tid, ts
    "X": {"dur": (int, float), "cat": str, "args": dict},
    "i": {"s": str, "cat": str, "args": dict},
    "b": {"cat": str, "id": str, "args": dict},
    "e": {"cat": str, "id": str, "args": dict},
    "C": {"args": dict},
    "M": {"args": dict},
}


def check_chrome(path, records):
    """As strict as the format's description: keys, types, slices of one thread nest, counters are numbers."""
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    trace = json.loads(read(path).decode(), parse_constant=refuse)
    expect(set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}, f"keys {set(trace)}")
    expect(trace["displayTimeUnit"] in ("ms", "ns"), trace["displayTimeUnit"])
    threads, slices, spans = set(), {}, {}
    for e in trace["traceEvents"]:
        kinds = {"ph": str, "name": str, "pid": int, "tid": int, "ts": (int, float), **PHASES.get(e.get("ph"), {"?": str})}
        expect(set(e) == set(kinds) and all(isinstance(e[k], t) for k, t in kinds.items()), f"event {e}")
        expect(e["ts"] >= 0 and e["name"], f"event {e}")
        if e["ph"] == "M":
            expect(e["name"] in ("process_name", "thread_name") and isinstance(e["args"]["name"], str), f"event {e}")
            threads |= {(e["pid"], e["tid"])} if e["name"] == "thread_name" else set()
        elif e["ph"] == "C":
            expect(e["args"] and all(type(v) is int for v in e["args"].values()), f"event {e}")
        elif e["ph"] == "i":
            expect(e["s"] in ("g", "p", "t") and (e["pid"], e["tid"]) in threads, f"event {e}")
        elif e["ph"] in "be":
            expect((e["pid"], e["tid"]) in threads, f"event {e}")
            spans.setdefault((e["cat"], e["id"]), []).append(e)
        else:
            expect(e["dur"] >= 0 and (e["pid"], e["tid"]) in threads, f"event {e}")
            slices.setdefault((e["pid"], e["tid"]), []).append((round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000)))
    for ends in spans.values():
        expect([e["ph"] for e in ends] == ["b", "e"] and ends[0]["ts"] <= ends[1]["ts"] and
               all(ends[0][key] == ends[1][key] for key in ("name", "pid", "tid")), f"a span of {ends}")
    requests = sum(r.kind == ts.BLOCK and r.cost > 0 for r in records)
    expect(len(spans) == requests, f"{len(spans)} requests to disks in the JSON file, {requests} in the trace")
    for lane, within in slices.items():
        open_until = []
        for begin, end in sorted(within, key=lambda s: (s[0], -s[1])):
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            expect(not open_until or end <= open_until[-1], f"slices of {lane} overlap at {begin} ns")
            open_until.append(end)
    exits = sum(e.get("cat") == "exit" for e in trace["traceEvents"])
    expect(exits == sum(r.kind == ts.EXIT for r in records), f"{exits} exits in the JSON file")


def check_picture(path, words):
    root = xml.etree.ElementTree.parse(path).getroot()
    expect(root.tag == "{http://www.w3.org/2000/svg}svg", root.tag)
    said = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in words:
        expect(any(word in text for text in said), f"the picture does not say {word}: {said}")
    expect(len(root.findall("{http://www.w3.org/2000/svg}path")) >= 2, "the picture is empty")


def check_outputs(lab, path, words, lost=0):
    """Every output of the tool from one stream; returns its records."""
    stream, records = ts.load(read(path))
    listing, _ = tool(path, "--text", "--json", lab.path("t.json"), "--ctf", lab.path("ctf"), "--svg", lab.path("t.svg"))
    expect(sum(loss.count for loss in stream.losses) == lost, f"losses {stream.losses}")
    expect(sum("records lost here" not in line for line in listing.splitlines()) == len(records), "lines are missing")
    check_ctf(lab.path("ctf"), records, lost)
    check_chrome(lab.path("t.json"), records)
    check_picture(lab.path("t.svg"), words)
    return records


# --- requests to disks ---


def check_requests(records):
    """Each request that is over began before, as long before as its cost says; returns how many of each kind are over."""
    open_ones, over = {}, Counter()
    for r in records:
        if r.kind != ts.BLOCK:
            continue
        q = ts.request(r)
        key = r.vm, q.disk, q.op, q.fua, r.a, r.b
        if not q.over:
            open_ones.setdefault(key, []).append(r.time)
            expect(not q.error and not r.cost, f"submitted, with an end: {r}")
            continue
        expect(r.time - r.cost in open_ones.get(key, ()), f"over, and did not begin then: {r}")
        open_ones[key].remove(r.time - r.cost)
        over[ts.REQUESTS[q.op]] += 1
    return over, sum(map(len, open_ones.values()))


# --- the tool alone ---


def check_names():
    """Words that C and Python have in common."""
    names = read(os.path.join(TOP, "vmx/exit_names.c")).decode().split("instruction_errors")[0]
    expect({int(n): text for n, text in re.findall(r'\[(\d+)\] = "([^"]+)"', names)} == ts.REASONS,
           "vmx/exit_names.c and tools/trace_stream.py differ")
    header = "".join(read(os.path.join(TOP, "guest", h)).decode() for h in ("config/trace_class.h", "trace/record.h"))
    for lists, words in (("TRACE_CLASS_LIST", ts.KINDS), ("TRACE_SCHED_LIST", ts.SCHED),
                         ("TRACE_DEVICE_LIST", ts.DEVICES), ("TRACE_BLOCK_LIST", ts.REQUESTS)):
        block = re.search(rf"#define {lists}\(X\)(.*?)\n\n", header, re.DOTALL)[1]
        expect(tuple(re.findall(r'X\(\w+,\s*"([^"]+)"', block)) == words, f"{lists} and {words} differ")


def split(data):
    """The stream's packets."""
    out, at = [], 0
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at + 4:at + 6], "little")
        out.append(data[at:end])
        at = end
    return out


def check_damage(data, records):
    """Joined late, cut off, with noise in between, with bytes lost and changed: what is whole is read, the rest counted."""
    packets = split(data)
    whole = [Counter(ts.load(p)[1]) for p in packets]

    def expect_packets(stream_bytes, left, missing, what):
        stream, got = ts.load(stream_bytes)
        expect(Counter(got) == sum((whole[n] for n in left), Counter()), f"{what}: other records")
        expect(stream.missing == missing, f"{what}: {stream.missing} packets missing, not {missing}")
        return stream

    everything = range(len(packets))
    stream = expect_packets(data[len(data) // 2:], [n for n in everything if sum(map(len, packets[:n])) >= len(data) // 2],
                            0, "joined late")
    expect(stream.skipped < 256, f"{stream.skipped} bytes skipped")
    expect_packets(data[:-3], everything[:-1], 0, "cut off")
    noise = b"CT\1\2\xff\xffC" + b"corbel: CTCT" + os.urandom(40)
    stream = expect_packets(noise.join(packets), everything, 0, "noise")
    expect(stream.skipped == len(noise) * (len(packets) - 1), f"{stream.skipped} bytes of noise")
    for n in (1, 7, len(packets) - 2):
        for wrong in (packets[n][:20] + packets[n][21:], packets[n][:9] + b"\x55" + packets[n][10:], b""):
            changed = b"".join([*packets[:n], wrong, *packets[n + 1:]])
            expect_packets(changed, [m for m in everything if m != n], 1, f"packet {n} damaged")
    one = ts.Stream()
    piecewise = [r for n in range(len(data)) for r in one.feed(data[n:n + 1])] + one.end()
    expect(Counter(piecewise) == Counter(records), "byte by byte")
    for seed in range(200):
        ts.load(os.urandom(seed) + b"CT\1\2" + os.urandom(300))


@scenario(bound=60)
def trace_tool(lab):
    """tools/trace on a stream from the encoder itself: records, losses, damage; babeltrace2, JSON, picture."""
    check_names()
    lab.verdict("trace: the same words in C and Python")
    path = lab.path("stream")
    said = subprocess.run([os.path.join(BUILD, "unit/test_trace"), "--stream", path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    lost = sum(int(n) for n in said.split()[1:])
    stream, records = ts.load(read(path))
    expect(lost > 100 and len(records) + lost == 3000, f"{len(records)} records, {lost} lost")
    expect([r.a * 1000 for r in records] == [r.time for r in records] and all(r.code == r.a % 57 for r in records),
           "records have changed on the way")
    expect(stream.names == {0: "one", 1: "two"} and stream.tsc_hz == 10 ** 9, f"{stream.names} {stream.tsc_hz}")
    lab.verdict("trace: what is written is read, and losses add up")
    check_damage(read(path), records)
    lab.verdict("trace: damaged streams")
    check_outputs(lab, path, ("one/0", "two/1", f"{lost} records lost"), lost)
    only, _ = tool(path, "--vm", "two")
    expect("two/" in only and "one/" not in only, "--vm has no effect")
    lab.verdict("trace: babeltrace2, Chrome's format, picture")

    disks = lab.path("disks")
    subprocess.run([os.path.join(BUILD, "unit/test_trace"), "--disk-stream", disks], stdin=subprocess.DEVNULL, check=True)
    requests = check_outputs(lab, disks, ("one: 0 VM exits", "one disk 0", "one disk 1", "; 1 errors"))
    expect(check_requests(requests) == ({"write": 2, "flush": 1, "read": 1}, 2), f"requests {requests}")
    said, _ = tool(disks)
    for line in ("disk 0 write 2048+8", "disk 0 write 2048+8: done  cost 200", "disk 0 flush", "disk 0 flush: done  cost 140",
                 "disk 0 write FUA 4096+256: done  cost 100", "disk 1 read 7+1: error 5  cost 50",
                 "disk 1 discard 8589934592+2147483648"):
        expect_in(rf" one/0 +block +{re.escape(line)}$", said, "the listing")
    lab.verdict("trace: requests to disks")

    listener = socket.create_server(("127.0.0.1", 0))
    def serve():
        wire, _ = listener.accept()
        wire.sendall(read(path))
        wire.close()
    threading.Thread(target=serve, daemon=True).start()
    listing, _ = tool(f"127.0.0.1:{listener.getsockname()[1]}")
    expect(len(listing.splitlines()) == len(records), "by socket: other records")
    with open(path, "rb") as f:
        listing, _ = tool("-", stdin=f)
    expect(len(listing.splitlines()) > len(records), "by standard input: other records")
    _, said = tool(lab.path("none"), status=1)
    expect("none" in said and "Traceback" not in said, said)
    _, said = tool(lab.file("new", b"CT\2\1\0\0\0\0" + (0x3a46f5c5).to_bytes(4, "little")), status=1)
    expect("Traceback" not in said, said)
    lab.verdict("trace: from a socket, from standard input, from nowhere")


# --- from a machine ---


def exits_of(text):
    """The summary's total, and its rows."""
    total = int(expect_in(r"^corbel:   VM exits: (\d+)", text)[1])
    return total, {name: int(n) for name, n in re.findall(r"^corbel:   (\S[^\n]*?)\s{2,}(\d+)\s+\d+%$", text, re.MULTILINE)}


@scenario(bound=240, slow=True)
def trace_linux(lab):
    """A boot of Linux, traced: every exit that the VM's summary counts is in the stream."""
    path = lab.path("com2")
    m = lab.boot(host(trace="all") + linux(), memory=512, com2=path)
    Shell(m).poweroff()
    wait_for_power_off(m)
    stream, records = ts.load(read(path))
    total, rows = exits_of(m.text())
    found = Counter(ts.title(r) for r in records if r.kind == ts.EXIT)
    expect(not (stream.losses or stream.missing or stream.damaged), stream.summary(records))
    expect(sum(found.values()) == total, f"{sum(found.values())} exits in the trace, {total} in the summary")
    rows.pop("others", None)
    expect(rows and all(found[name] == n for name, n in rows.items()), f"trace {found}, summary {rows}")
    check_story(records)
    check_outputs(lab, path, ("linux/0", f"{total} VM exits", "CPUID"))


def check_story(records):
    """The records fit together: timers that are set fire, lines go up and down, the vCPU runs and is halted."""
    kinds = Counter(r.kind for r in records)
    expect(all(kinds[k] for k in (ts.EXIT, ts.INJECTION, ts.SCHEDULING, ts.INTERRUPT, ts.DEVICE)), f"kinds {kinds}")
    exits = [r for r in records if r.kind == ts.EXIT]
    expect(all(r.cost and (r.rip or n < 10) for n, r in enumerate(exits)), "an exit without cost or RIP")
    expect(any(r.rip >> 47 == 0x1ffff for r in exits), "no exit from the kernel")
    levels = {}
    for r in records:
        if r.kind == ts.DEVICE and r.code == 0:
            expect(levels.get(r.a, 0) != r.b, f"line {r.a} goes to {r.b} twice")
            levels[r.a] = r.b
    deadlines = sum(r.code == 32 and r.a == 0x6e0 for r in exits)
    timers = Counter(r.code & 0xff for r in records if r.kind == ts.INJECTION).most_common(1)[0]
    expect(deadlines > 100 and timers[1] > deadlines / 2, f"{deadlines} deadlines set, {timers} injected")
    states = [r.code for r in records if r.kind == ts.SCHEDULING]
    expect(states[0] == ts.RUNS and states[-1] == ts.STOPPED, f"the vCPU begins with {states[0]}, ends with {states[-1]}")
    for before, after in zip(states, states[1:]):
        expect((before == ts.RUNS) != (after == ts.RUNS), "a vCPU runs twice, or not at all, between two stops")


@scenario(bound=90)
def trace_overflow(lab):
    """Rings of 16 KiB and a guest that exits all the time: losses are counted, and with them it is all of it."""
    path = lab.path("com2")
    m = lab.boot(host(trace="exits", trace_memory="16K") + vm("a", lab.guest("exits"), memory="16M"), com2=path)
    m.read_until("^PASS exits", BOOT * PATIENCE)
    wait_for_power_off(m)
    stream, records = ts.load(read(path))
    lost = sum(loss.count for loss in stream.losses)
    total, _ = exits_of(m.text())
    expect(lost > 1000, f"{lost} records lost only")
    expect({r.kind for r in records} == {ts.EXIT}, "other records than of exits")
    expect(len(records) + lost == total, f"{len(records)} records and {lost} lost, of {total} exits")
    expect(stream.missing == 0, f"{stream.missing} packets lost")
    _, said = tool(path)
    expect_in(f"{lost} records lost in Corbel", said, "the tool")
    check_outputs(lab, path, ("a/0", f"{lost} records lost"), lost)


@scenario(bound=90)
def trace_keeps_nobody(lab):
    """Thousands of records wait for the port: whoever sits at the prompt can end each wait, and `now` is now."""
    p = Host(lab, tiny(lab, "a", "floods"), {"trace": "exits", "when_idle": "stay"}, com2=lab.path("com2"))
    while int(expect_in(r"^\d+ records, (\d+) of them to be sent", p.run("trace"), "trace")[1]) < 5000:
        time.sleep(0.2)
    # Typed ahead: a machine without VMs does nothing but send, and its time flies.
    for command, progress in (("kill a\rpoweroff", rb"[1-9]\d{3,} records of the trace are left to be sent"),
                              ("trace save", rb"[1-9]\d{3,} records are left to be sent"),
                              ("trace show 100000", rb"exits ")):
        p.m.send(command + "\r")
        p.m.read_until(progress, COMMAND * PATIENCE)
        p.m.send("\x03")
        p.m.read_until(rb"\^C\r\n(?s:.*?)" + PROMPT, COMMAND * PATIENCE)
    waiting = int(expect_in(r"^\d+ records, (\d+) of them to be sent", p.run("trace"), "trace")[1])
    p.m.send("reboot now\r")
    left = int(p.m.read_until(rb"corbel: warning: (\d+) records of the trace are not sent", COMMAND * PATIENCE)[1])
    expect(0 < left <= waiting, f"{left} of {waiting} records are not sent")
    p.m.read_until(rb"corbel: now: reboot", COMMAND * PATIENCE)


@scenario(bound=60)
def trace_without_port(lab):
    """No second serial port: it is said, and the VM runs all the same."""
    m = lab.boot(host(trace="exits, hypercalls") + vm("a", lab.guest("cpuid_signature"), memory="16M"))
    wait_for_corbel(m)
    m.read_until("^PASS cpuid_signature", BOOT * PATIENCE)
    wait_for_power_off(m)
    expect_in("^corbel: warning: trace: there is no second serial port", m.text())
