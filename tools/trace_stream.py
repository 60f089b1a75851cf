"""The stream of Corbel's trace (docs/TRACE.md): packets found among whatever else a serial line carries, the records in
them, and what they say in words.
"""
import struct
import zlib
from collections import Counter, namedtuple

VERSION = 1
HEADER = struct.Struct("<2sBBHH")  # "CT", version, type, length of the payload, sequence
INFO = struct.Struct("<QQQIH")  # TSC frequency, now, start, classes, processors
RECORDS = struct.Struct("<HIQ")  # processor, records lost so far, time before the first record
PAYLOAD_MAX = 256 - HEADER.size - 4
TYPE_INFO, TYPE_RECORDS = 1, 2

KINDS = ("exits", "injections", "scheduling", "interrupts", "hypercalls", "devices", "block")
EXIT, INJECTION, SCHEDULING, INTERRUPT, HYPERCALL, DEVICE, BLOCK = range(len(KINDS))
SCHED = ("runs", "halted", "preempted", "stopped")
RUNS, HALTED, PREEMPTED, STOPPED = range(len(SCHED))
DEVICES = ("line", "timers")
REQUESTS = ("read", "write", "flush", "discard", "write zeroes")
READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES = range(len(REQUESTS))
INJECTED_BY = {0: "interrupt", 2: "NMI", 3: "exception", 4: "software interrupt", 5: "privileged software exception",
               6: "software exception", 7: "other event"}
VIRTUAL = 1 << 12  # by virtual-interrupt delivery

# SDM, "VMX Basic Exit Reasons", in the words of vmx/exit_names.c.
REASONS = {
    0: "exception or NMI", 1: "external interrupt", 2: "triple fault", 3: "INIT signal", 4: "start-up IPI",
    5: "I/O system-management interrupt", 6: "other system-management interrupt", 7: "interrupt window",
    8: "NMI window", 9: "task switch", 10: "CPUID", 11: "GETSEC", 12: "HLT", 13: "INVD", 14: "INVLPG", 15: "RDPMC",
    16: "RDTSC", 17: "RSM", 18: "VMCALL", 19: "VMCLEAR", 20: "VMLAUNCH", 21: "VMPTRLD", 22: "VMPTRST", 23: "VMREAD",
    24: "VMRESUME", 25: "VMWRITE", 26: "VMXOFF", 27: "VMXON", 28: "control-register access", 29: "MOV DR",
    30: "I/O instruction", 31: "RDMSR", 32: "WRMSR", 33: "VM entry failed: invalid guest state",
    34: "VM entry failed: MSR loading", 36: "MWAIT", 37: "monitor trap flag", 39: "MONITOR", 40: "PAUSE",
    41: "VM entry failed: machine check", 43: "TPR below threshold", 44: "APIC access", 45: "virtualized EOI",
    46: "access to GDTR or IDTR", 47: "access to LDTR or TR", 48: "EPT violation", 49: "EPT misconfiguration",
    50: "INVEPT", 51: "RDTSCP", 52: "preemption timer", 53: "INVVPID", 54: "WBINVD", 55: "XSETBV", 56: "APIC write",
    57: "RDRAND", 58: "INVPCID", 59: "VMFUNC", 60: "ENCLS", 61: "RDSEED", 62: "page-modification log full",
    63: "XSAVES", 64: "XRSTORS", 65: "PCONFIG", 66: "sub-page-permission event", 67: "UMWAIT", 68: "TPAUSE",
    69: "LOADIWKEY", 70: "ENCLV", 72: "ENQCMD PASID translation failure", 73: "ENQCMDS PASID translation failure",
    74: "bus lock", 75: "notify", 76: "SEAMCALL", 77: "TDCALL",
}

# vm is its number in the config, None where the event belongs to none; kind is an index of KINDS.
Record = namedtuple("Record", "time cpu kind vm vcpu code rip cost a b")
Loss = namedtuple("Loss", "time cpu count")  # count records are missing before that time


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value & 0xffffffffffffffff, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _delta(data, at, before):
    value, at = _varint(data, at)
    return (before + (value >> 1 ^ -(value & 1))) & 0xffffffffffffffff, at


def unpack_records(payload):
    """Processor, records lost so far, records; ValueError or IndexError when it is none of ours."""
    cpu, lost, time = RECORDS.unpack_from(payload)
    at, vm, vcpu, rip, out = RECORDS.size, None, 0, 0, []
    while at < len(payload):
        first = payload[at]
        at += 1
        if not first & 0x10:
            number, at = _varint(payload, at)
            vm = number - 1 if number else None
            vcpu, at = _varint(payload, at)
        time, at = _delta(payload, at, time)
        code, at = _varint(payload, at)
        this_rip = cost = b = 0
        if first & 0x20:
            rip, at = _delta(payload, at, rip)
            this_rip = rip
        if first & 0x40:
            cost, at = _varint(payload, at)
        a, at = _varint(payload, at)
        if first & 0x80:
            b, at = _varint(payload, at)
        out.append(Record(time, cpu, first & 0xf, vm, vcpu, code, this_rip, cost, a, b))
    return cpu, lost, out


class Stream:
    """Bytes in, by feed(), in pieces of any size; records out, and what is known about them."""

    def __init__(self):
        self.buffer = bytearray()
        self.tsc_hz = self.start = None
        self.now = self.events = self.cpus = 0
        self.names = {}  # number of a VM: its name
        self.losses = []  # pushed out of a ring before they could be sent
        self.skipped = 0  # bytes that belong to no packet
        self.missing = 0  # packets, by their numbers
        self.damaged = 0  # packets whose checksum holds and whose content makes no sense
        self.sequence = None
        self.whole = False  # from its beginning
        self.lost = {}  # by processor, as its last packet said

    def feed(self, data):
        """Add bytes; returns the records that are complete with them."""
        self.buffer += data
        out, at = [], 0
        while True:
            found = self.buffer.find(b"CT", at)
            if found < 0:  # the last byte may begin a packet
                found = len(self.buffer) - self.buffer.endswith(b"C")
                self.skipped += found - at
                at = found
                break
            self.skipped += found - at
            at = found
            if len(self.buffer) - at < HEADER.size:
                break
            _, version, kind, length, sequence = HEADER.unpack_from(self.buffer, at)
            end = at + HEADER.size + length + 4
            if length <= PAYLOAD_MAX:
                if len(self.buffer) < end:
                    break
                if zlib.crc32(self.buffer[at:end - 4]) == int.from_bytes(self.buffer[end - 4:end], "little"):
                    if version != VERSION:
                        raise ValueError(f"the stream is of version {version}; this tool reads version {VERSION}")
                    self._packet(kind, sequence, bytes(self.buffer[at + HEADER.size:end - 4]), out)
                    at = end
                    continue
            at += 1
            self.skipped += 1
        del self.buffer[:at]
        return out

    def end(self):
        """No more bytes will come: what began like a packet is none. Returns the last records."""
        out = []
        while self.buffer:
            self.skipped += 1
            del self.buffer[0]
            out += self.feed(b"")
        return out

    def _packet(self, kind, sequence, payload, out):
        if self.sequence is None:
            self.whole = sequence == 0
        else:
            self.missing += (sequence - self.sequence - 1) & 0xffff
        self.sequence = sequence
        try:
            if kind == TYPE_INFO:
                self._info(payload)
            elif kind == TYPE_RECORDS:
                cpu, lost, records = unpack_records(payload)
                before = self.lost.get(cpu, 0 if self.whole else lost)
                if lost != before:
                    self.losses.append(Loss(records[0].time if records else self.now, cpu, (lost - before) & 0xffffffff))
                self.lost[cpu] = lost
                out += records
        except (ValueError, IndexError, struct.error):
            self.damaged += 1

    def _info(self, payload):
        self.tsc_hz, self.now, start, self.events, self.cpus = INFO.unpack_from(payload)
        if self.start is None:
            self.start = start
        at = INFO.size
        while at < len(payload):
            number, length = struct.unpack_from("<HB", payload, at)
            self.names[number] = payload[at + 3:at + 3 + length].decode(errors="replace")
            at += 3 + length

    def name(self, vm):
        return "host" if vm is None else self.names.get(vm, f"vm{vm}")

    def seconds(self, time):
        return (time - (self.start or 0)) / (self.tsc_hz or 1_000_000_000)

    def summary(self, records):
        """What the stream was, in a line or a few."""
        count = Counter(r.kind for r in records)
        parts = [f"{count[k]} {KINDS[k]}" for k in sorted(count) if k < len(KINDS)]
        text = f"{len(records)} records{': ' + ', '.join(parts) if parts else ''}"
        lost = sum(loss.count for loss in self.losses)
        for number, what in ((lost, "records lost in Corbel, whose port could not keep up"),
                             (self.missing, "packets lost on the line"), (self.damaged, "packets make no sense")):
            if number:
                text += f"\n{number} {what}"
        if self.skipped:
            text += f"\n{self.skipped} bytes are no part of the trace"
        return text


def load(data):
    """A whole stream: it, and its records in the order of time."""
    stream = Stream()
    records = stream.feed(data) + stream.end()
    if stream.start is None and records:
        stream.start = min(r.time for r in records)
    return stream, ordered(records)


def ordered(records):
    """By time. What `trace save` has sent once more is there once."""
    return sorted(dict.fromkeys(records), key=lambda r: r.time)


# --- requests to disks ---

Request = namedtuple("Request", "disk op fua over error")  # the code of a BLOCK record; error: a number, 0 for none


def request(r):
    return Request(r.code >> 16, r.code & 15, bool(r.code & 32), bool(r.code & 16), r.code >> 8 & 255)


def end_of(r):
    """When what a record tells of is over: an exit begins at its time, a request to a disk ends there."""
    return r.time + r.cost if r.kind == EXIT else r.time


# --- in words ---


def reason(code):
    if code & 1 << 31:
        return REASONS.get(code & 0xffff, "VM entry failed")
    return REASONS.get(code & 0xffff, f"exit {code & 0xffff}")


def _exit_details(r):
    code = r.code & 0xffff
    if code == 30:
        size = (r.a & 7) + 1
        string = " string" if r.a & 0x10 else ""
        value = "" if string else f" {'->' if r.a & 8 else '<-'} {r.b & (1 << 8 * size) - 1:0{2 * size}x}"
        return f"{'in' if r.a & 8 else 'out'}{string} {r.a >> 16:x}{value}"
    if code == 48:
        access = [word for bit, word in ((1, "read"), (2, "write"), (4, "fetch")) if r.a & bit]
        return f"{' '.join(access)} {r.b:x}"
    if code in (31, 32):
        return f"{r.a:x} {'->' if code == 31 else '<-'} {r.b:x}"
    if code == 10:
        return f"{r.a:x}:{r.b:x}"
    if code == 18:
        return f"{r.a:x} ({r.b:x})"
    if code in (0, 1) and r.a & 1 << 31:
        return f"vector {r.a & 0xff:x}" + (f" error {r.b:x}" if r.a & 1 << 11 else "")
    if code == 28:
        register = r.a >> 8 & 15
        return (f"cr{r.a & 15} <- r{register}", f"r{register} <- cr{r.a & 15}", "clts", "lmsw")[r.a >> 4 & 3]
    return f"{r.a:x}" if r.a else ""


def injection(r):
    """What was injected, in two or three words."""
    if r.code & VIRTUAL:
        return f"virtual interrupt {r.code & 0xff:x}"
    what = INJECTED_BY.get(r.code >> 8 & 7, "reserved")
    return f"{what} {r.code & 0xff:x}" + (f" error {r.a:x}" if r.code & 1 << 11 else "")


def title(r):
    """The event without its details: what it is counted and drawn as."""
    if r.kind == EXIT:
        return reason(r.code)
    if r.kind == INJECTION:
        return injection(r)
    if r.kind == SCHEDULING:
        return SCHED[r.code] if r.code < len(SCHED) else f"scheduling {r.code}"
    if r.kind == INTERRUPT:
        return f"vector {r.code:x}"
    if r.kind == HYPERCALL:
        return f"hypercall {r.a:x}"
    if r.kind == DEVICE:
        return DEVICES[r.code] if r.code < len(DEVICES) else f"device {r.code}"
    if r.kind == BLOCK:
        q = request(r)
        what = REQUESTS[q.op] if q.op < len(REQUESTS) else f"request {q.op}"
        return f"disk {q.disk} {what}{' FUA' if q.fua else ''}"
    return f"kind {r.kind} code {r.code}"


def details(r):
    if r.kind == EXIT:
        return _exit_details(r)
    if r.kind == HYPERCALL:
        return f"({r.b:x})"
    if r.kind == DEVICE and r.code == 0:
        return f"{r.a} {'up' if r.b else 'down'}"
    if r.kind == BLOCK:
        q = request(r)
        end = f": error {q.error}" if q.error else ": done" if q.over else ""
        return (f"{r.a}+{r.b}" if r.b else "") + end
    return ""


def line(stream, r):
    """One line of the listing."""
    who = "-" if r.vm is None else f"{stream.name(r.vm)}/{r.vcpu}"
    kind = KINDS[r.kind] if r.kind < len(KINDS) else str(r.kind)
    text = f"{stream.seconds(r.time):14.9f} cpu{r.cpu} {who:<12} {kind:<11} {title(r)}"
    said = details(r)
    if said:
        text += f": {said}" if r.kind == EXIT else said if said.startswith(":") else f" {said}"
    if r.rip:
        text += f"  rip {r.rip:x}"
    if r.cost:
        text += f"  cost {r.cost}"
    return text
