"""Corbel's trace in formats that existing viewers open: Chrome's trace events and the Common Trace Format."""
import json
import os
import re
import struct
from collections import Counter

import trace_stream as ts
from trace_stream import BLOCK, EXIT, INTERRUPT, SCHEDULING

COUNTER_STEP = 0.01  # seconds of one value of the counter track
DISK_LANE = 1000  # thread number of a VM's first disk; its vCPUs are numbered from 0


def write_text(stream, records, out):
    losses = sorted(stream.losses, key=lambda loss: loss.time)
    for r in records:
        while losses and losses[0].time <= r.time:
            loss = losses.pop(0)
            out.write(f"{stream.seconds(loss.time):14.9f} cpu{loss.cpu} {loss.count} records lost here\n")
        out.write(ts.line(stream, r) + "\n")


# --- Chrome's trace events ---


def stays(records):
    """Each stay of a vCPU on a processor: (first record, last record or None when the trace ends before)."""
    running, out = {}, []
    for r in records:
        if r.kind != SCHEDULING:
            continue
        key = r.vm, r.vcpu
        if key in running:
            out.append((running.pop(key), r))
        if r.code == ts.RUNS:
            running[key] = r
    return out + [(r, None) for r in running.values()]


class Chrome:
    """Processes are the VMs, threads their vCPUs; process 0 has the processors."""

    def __init__(self, stream):
        self.stream, self.events, self.spans = stream, [], 0

    def microseconds(self, time):
        return round(self.stream.seconds(time) * 1e6, 3)

    def add(self, phase, name, time, process, thread, **more):
        self.events.append({"ph": phase, "name": name, "ts": time, "pid": process, "tid": thread, **more})

    def slice(self, name, begin, end, process, thread, category, **arguments):
        begin, end = self.microseconds(begin), self.microseconds(end)
        self.add("X", name, begin, process, thread, dur=round(max(0, end - begin), 3), cat=category, args=arguments)

    def instant(self, name, time, process, thread, category, **arguments):
        self.add("i", name, self.microseconds(time), process, thread, s="t", cat=category, args=arguments)

    def overlapping(self, name, begin, end, process, thread, category, **arguments):
        """What others of its lane may overlap: its two ends, which a number of its own holds together."""
        self.spans += 1
        same = {"cat": category, "id": str(self.spans)}
        begin = self.microseconds(begin)
        self.add("b", name, begin, process, thread, args=arguments, **same)
        self.add("e", name, max(begin, self.microseconds(end)), process, thread, args={}, **same)

    def label(self, what, process, thread, name):
        self.add("M", what, 0, process, thread, args={"name": name})


def _chrome_request(c, r):
    q = ts.request(r)
    lane = r.vm + 1, DISK_LANE + q.disk, "block"
    arguments = {"sector": r.a, "sectors": r.b}
    if q.error:
        arguments["error"] = q.error
    if r.cost:
        c.overlapping(ts.title(r), r.time - r.cost, r.time, *lane, cpu=r.cpu, cost=r.cost, **arguments)
    else:
        c.instant(ts.title(r), r.time, *lane, cpu=r.cpu, what="done" if q.over else "submitted", **arguments)


def _chrome_record(c, r):
    if r.kind == BLOCK and r.vm is not None:
        _chrome_request(c, r)
        return
    process, thread = (0, r.cpu) if r.vm is None else (r.vm + 1, r.vcpu)
    arguments = {"rip": f"{r.rip:#x}"} if r.rip else {}
    said = ts.details(r)
    if said:
        arguments["details"] = said
    if r.kind == EXIT:
        c.slice(ts.title(r), r.time, r.time + r.cost, process, thread, "exit", cpu=r.cpu, cost=r.cost, a=f"{r.a:#x}",
                b=f"{r.b:#x}", **arguments)
    elif r.kind != SCHEDULING:
        kind = ts.KINDS[r.kind] if r.kind < len(ts.KINDS) else "unknown"
        c.instant(ts.title(r), r.time, process, thread, kind, **arguments)


def _chrome_counters(c, records):
    counts = {}  # (VM, step): exits by reason
    for r in records:
        if r.kind == EXIT:
            step = int(c.stream.seconds(r.time) / COUNTER_STEP)
            counts.setdefault((r.vm, step), Counter())[ts.title(r)] += 1
    for (vm, step), counter in sorted(counts.items(), key=lambda item: (item[0][0] or 0, item[0][1])):
        c.add("C", "exits per 10 ms", round(step * COUNTER_STEP * 1e6, 3), (vm or 0) + 1, 0, args=dict(counter))
        if (vm, step + 1) not in counts:
            c.add("C", "exits per 10 ms", round((step + 1) * COUNTER_STEP * 1e6, 3), (vm or 0) + 1, 0,
                  args=dict.fromkeys(counter, 0))


def chrome(stream, records):
    """The trace as a dictionary in Chrome's trace event format (JSON object form)."""
    c = Chrome(stream)
    end = max(map(ts.end_of, records), default=0)
    c.label("process_name", 0, 0, "processors")
    for cpu in sorted({r.cpu for r in records}):
        c.label("thread_name", 0, cpu, f"cpu {cpu}")
    for vm in sorted({r.vm for r in records if r.vm is not None}):
        c.label("process_name", vm + 1, 0, f"VM {stream.name(vm)}")
    for vm, vcpu in sorted({(r.vm, r.vcpu) for r in records if r.vm is not None}):
        c.label("thread_name", vm + 1, vcpu, f"vCPU {vcpu}")
    for vm, disk in sorted({(r.vm, ts.request(r).disk) for r in records if r.kind == BLOCK and r.vm is not None}):
        c.label("thread_name", vm + 1, DISK_LANE + disk, f"disk {disk}")
    for first, last in stays(records):
        name = f"{stream.name(first.vm)}/{first.vcpu}"
        until = last.time if last else end
        why = ts.title(last) if last else "end of the trace"
        c.slice(name, first.time, until, 0, first.cpu, "scheduling", until=why)
        c.slice(f"on cpu {first.cpu}", first.time, until, first.vm + 1, first.vcpu, "scheduling", until=why)
    for r in records:
        _chrome_record(c, r)
    _chrome_counters(c, records)
    for loss in stream.losses:
        c.instant(f"{loss.count} records lost", loss.time, 0, loss.cpu, "lost")
    return {"traceEvents": c.events, "displayTimeUnit": "ns",
            "otherData": {"source": "Corbel", "tsc_hz": str(stream.tsc_hz), "missing_packets": str(stream.missing)}}


def write_chrome(stream, records, path):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(chrome(stream, records), f, separators=(",", ":"))
        f.write("\n")


# --- Common Trace Format 1.8 ---

CTF_MAGIC = 0xc1fc1fc1
CTF_PACKET_HEADER = struct.Struct("<II")
CTF_PACKET_CONTEXT = struct.Struct("<QQQQQI")
CTF_EVENT = struct.Struct("<HQ")
CTF_PACKET_EVENTS = 4096

METADATA = """/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 16; align = 8; signed = false; }} := uint16_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 64; align = 8; signed = false; }} := uint64_t;
typealias integer {{ size = 64; align = 8; signed = false; base = 16; }} := hex_t;
trace {{
    major = 1;
    minor = 8;
    byte_order = le;
    packet.header := struct {{ uint32_t magic; uint32_t stream_id; }};
}};
env {{ domain = "hypervisor"; tracer_name = "corbel"; tracer_major = {version}; }};
clock {{ name = "tsc"; description = "the host's TSC since tracing began"; freq = {hz}; }};
typealias integer {{ size = 64; align = 8; signed = false; map = clock.tsc.value; }} := tsc_t;
stream {{
    id = 0;
    packet.context := struct {{
        tsc_t timestamp_begin; tsc_t timestamp_end;
        uint64_t content_size; uint64_t packet_size; uint64_t events_discarded;
        uint32_t cpu_id;
    }};
    event.header := struct {{ uint16_t id; tsc_t timestamp; }};
}};
"""


def _enum(names):
    return "enum : uint32_t { " + ", ".join(f'"{name}" = {n}' for n, name in names) + " }"


def _ctf_request(r):
    q = ts.request(r)
    return struct.pack("<IIBBIQQ", q.op, q.over, q.fua, q.error, r.cost, r.a, r.b)


def _ctf_events():
    """For each kind: CTF's name of the event, its fields, and what packs a record's own."""
    who = "string vm; uint16_t vcpu; "
    return {
        ts.EXIT: ("exit", who + f"hex_t rip; uint32_t cost; {_enum(sorted(ts.REASONS.items()))} reason; hex_t a; hex_t b;",
                  lambda r: struct.pack("<QIIQQ", r.rip, r.cost, r.code & 0xffff, r.a, r.b)),
        ts.INJECTION: ("injection", who + "hex_t rip; string what; hex_t info; hex_t error;",
                       lambda r: struct.pack("<Q", r.rip) + ts.injection(r).encode() + b"\0" +
                       struct.pack("<QQ", r.code, r.a)),
        ts.SCHEDULING: ("scheduling", who + f"{_enum(enumerate(ts.SCHED))} what;",
                        lambda r: struct.pack("<I", r.code)),
        ts.INTERRUPT: ("interrupt", "uint8_t vector;", lambda r: struct.pack("<B", r.code & 0xff)),
        ts.HYPERCALL: ("hypercall", who + "hex_t rip; hex_t number; hex_t argument;",
                       lambda r: struct.pack("<QQQ", r.rip, r.a, r.b)),
        ts.DEVICE: ("device", who + f"{_enum(enumerate(ts.DEVICES))} what; uint64_t a; uint64_t b;",
                    lambda r: struct.pack("<IQQ", r.code, r.a, r.b)),
        ts.BLOCK: ("block", "string vm; uint16_t disk; "
                   f"{_enum(enumerate(ts.REQUESTS))} what; {_enum(enumerate(('submit', 'completion')))} phase; "
                   "uint8_t fua; uint8_t error; uint32_t cost; uint64_t sector; uint64_t sectors;", _ctf_request),
    }


def _ctf_packets(stream, cpu, records, events):
    """The stream of one processor: packets end where records were lost, whose number the next one tells."""
    losses = sorted((loss for loss in stream.losses if loss.cpu == cpu), key=lambda loss: loss.time)
    discarded, at = 0, 0
    while at < len(records) or losses:
        first = records[at].time if at < len(records) else losses[0].time
        while losses and losses[0].time <= first:
            discarded += losses.pop(0).count
        end = at
        while end < len(records) and end - at < CTF_PACKET_EVENTS and not (losses and losses[0].time <= records[end].time):
            end += 1
        content = b"".join(_ctf_record(stream, r, events) for r in records[at:end])
        last = records[end - 1].time if end > at else first
        bits = 8 * (CTF_PACKET_HEADER.size + CTF_PACKET_CONTEXT.size + len(content))
        since = stream.start or 0
        yield (CTF_PACKET_HEADER.pack(CTF_MAGIC, 0) +
               CTF_PACKET_CONTEXT.pack(max(0, first - since), max(0, last - since), bits, bits, discarded, cpu) + content)
        at = end


def _ctf_record(stream, r, events):
    own = events[r.kind][2](r)
    number = ts.request(r).disk if r.kind == BLOCK else r.vcpu
    who = b"" if r.kind == INTERRUPT else stream.name(r.vm).encode() + b"\0" + struct.pack("<H", number)
    return CTF_EVENT.pack(r.kind, max(0, r.time - (stream.start or 0))) + who + own


def write_ctf(stream, records, folder):
    """A CTF trace: metadata, and one stream for each processor."""
    events = _ctf_events()
    os.makedirs(folder, exist_ok=True)
    text = METADATA.format(version=ts.VERSION, hz=stream.tsc_hz or 1_000_000_000)
    for number, (name, fields, _) in events.items():
        text += f'event {{ id = {number}; name = "{name}"; stream_id = 0; fields := struct {{ {fields} }}; }};\n'
    with open(os.path.join(folder, "metadata"), "w", encoding="ascii") as f:
        f.write(text)
    # What an earlier trace of more processors has left would be read with this one.
    for name in os.listdir(folder):
        if re.fullmatch(r"cpu\d+", name):
            os.remove(os.path.join(folder, name))
    known = [r for r in records if r.kind in events]
    for cpu in sorted({r.cpu for r in known} | {loss.cpu for loss in stream.losses}):
        with open(os.path.join(folder, f"cpu{cpu}"), "wb") as f:
            for packet in _ctf_packets(stream, cpu, [r for r in known if r.cpu == cpu], events):
                f.write(packet)
