"""A picture of a trace: exits over time by reason, and what each vCPU did."""
from collections import Counter
from xml.sax.saxutils import escape

import trace_stream as ts
from trace_export import stays

WIDTH, LEFT, RIGHT = 900, 118, 16
PLOT = WIDTH - LEFT - RIGHT
BARS, BAR_HEIGHT = 130, 200
LANE_HEIGHT, LANE_GAP = 22, 8
LEGEND_ROW = 18
REASONS_SHOWN = 8

BACKGROUND, FRAME, TEXT, FAINT = "#1b2028", "#6e7681", "#c9d1d9", "#8b949e"
# Told apart by people who see few colours, too; the last is for what has none of its own.
COLOURS = ("#56b4e9", "#e69f00", "#2fbf9b", "#f0e442", "#d55e00", "#cc79a7", "#7c9cff", "#b7e07a", "#8b949e")
READS, WRITES, FLUSHES = "#2fbf9b", "#d55e00", "#cc79a7"  # and whatever else a disk is asked for
GUEST, CORBEL, HALTED = "#3a6f9a", "#e69f00", "#39424e"
STYLE = ('<style>text{font:12px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:%s}'
         '.f{fill:%s}.t{font-weight:bold}</style>' % (TEXT, FAINT))


class Picture:
    def __init__(self):
        self.parts, self.y = [], 0

    def text(self, x, y, text, kind="", anchor=""):
        kind = f' class="{kind}"' if kind else ""
        anchor = f' text-anchor="{anchor}"' if anchor else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{kind}{anchor}>{escape(text)}</text>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def path(self, commands, colour):
        if commands:
            self.parts.append(f'<path d="{"".join(commands)}" fill="{colour}"/>')

    def finish(self, label):
        height = round(self.y)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                f'height="{height}" role="img" aria-label="{escape(label, {chr(34): "&quot;"})}">\n{STYLE}\n'
                f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{BACKGROUND}" stroke="{FRAME}"/>\n' +
                "\n".join(self.parts) + "\n</svg>\n")


def _step(span, most):
    """A round distance between marks on an axis."""
    step = 10.0 ** -9
    while True:
        for factor in (1, 2, 5):
            if span / (step * factor) <= most:
                return step * factor
        step *= 10


def _duration(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            return f"{seconds * scale:.4g} {unit}"
    return ""


def _draw_exits(p, stream, exits, begin, span):
    top = Counter(ts.title(r) for r in exits)
    shown = [name for name, _ in top.most_common(REASONS_SHOWN)]
    colour = dict(zip(shown, COLOURS))
    bins = [Counter() for _ in range(BARS)]
    for r in exits:
        n = min(BARS - 1, int((stream.seconds(r.time) - begin) / span * BARS))
        bins[n][ts.title(r) if ts.title(r) in colour else ""] += 1
    most = max((sum(b.values()) for b in bins), default=1) or 1
    width = PLOT / BARS
    base = p.y + BAR_HEIGHT
    step = max(1, round(_step(most, 4)))
    for value in range(0, most + 1, step):
        y = base - value / most * BAR_HEIGHT
        p.box(LEFT, y, PLOT, 0.5, "#39424e")
        p.text(LEFT - 8, y + 4, str(value), "f", "end")
    p.text(12, p.y + 10, "exits per", "f")
    p.text(12, p.y + 25, _duration(span / BARS), "f")
    heights = [0.0] * BARS
    for name in shown + [""]:
        commands = []
        for n, counter in enumerate(bins):
            height = counter[name] / most * BAR_HEIGHT
            if height:
                commands.append(f"M{LEFT + n * width:.1f} {base - heights[n]:.1f}v{-height:.1f}h{width * 0.86:.1f}v{height:.1f}z")
                heights[n] += height
        p.path(commands, colour.get(name, COLOURS[-1]))
    p.y = base
    return [(name, colour[name], top[name]) for name in shown] + \
        ([("others", COLOURS[-1], sum(top.values()) - sum(top[n] for n in shown))] if len(top) > len(shown) else [])


def _draw_axis(p, begin, span):
    step = _step(span, 8)
    n = int(begin / step)
    while n * step <= begin + span:
        if n * step >= begin:
            x = LEFT + (n * step - begin) / span * PLOT
            p.box(x, p.y, 0.5, 5, FAINT)
            p.text(x, p.y + 18, f"{n * step:.10g}", "f", "middle")
        n += 1
    p.text(12, p.y + 18, "seconds", "f")
    p.y += 34


def _columns(stream, spans, begin, span):
    """How much of each pixel's time the spans (begin, end in TSC) take."""
    out = [0.0] * PLOT
    for first, last in spans:
        a = (stream.seconds(first) - begin) / span * PLOT
        b = (stream.seconds(last) - begin) / span * PLOT
        for n in range(max(0, int(a)), min(PLOT, int(b) + 1)):
            out[n] += max(0.0, min(b, n + 1) - max(a, n))
    return out


def _steps(columns, below, y):
    """Path of columns, each on what stands below it there; equal neighbours are one."""
    commands, n = [], 0
    while n < PLOT:
        end = n
        shape = round(columns[n], 2), round(below[n], 2)
        while end < PLOT and (round(columns[end], 2), round(below[end], 2)) == shape:
            end += 1
        height, foot = min(1.0, shape[0]) * LANE_HEIGHT, shape[1] * LANE_HEIGHT
        if height:
            commands.append(f"M{LEFT + n} {y + LANE_HEIGHT - foot:.1f}v{-height:.1f}h{end - n}v{height:.1f}z")
        n = end
    return commands


def _draw_lane(p, stream, vcpu, records, begin, span, end):
    mine = [r for r in records if (r.vm, r.vcpu) == vcpu]
    on = [(first.time, last.time if last else end) for first, last in stays(mine)]
    exits = [(r.time, r.time + r.cost) for r in mine if r.kind == ts.EXIT]
    if not on and exits:
        on = [(exits[0][0], exits[-1][1])]
    comings = [r for r in mine if r.kind == ts.SCHEDULING]
    halted = [(a.time, b.time) for a, b in zip(comings, comings[1:]) if a.code == ts.HALTED]
    running, handling = _columns(stream, on, begin, span), _columns(stream, exits, begin, span)
    asleep = _columns(stream, halted, begin, span)
    handling = [min(a, b) for a, b in zip(handling, running)]
    guest = [max(0.0, a - b) for a, b in zip(running, handling)]
    p.text(12, p.y + 15, f"{stream.name(vcpu[0])}/{vcpu[1]}"[:14])
    p.box(LEFT, p.y, PLOT, LANE_HEIGHT, "#11151b")
    p.path(_steps(handling, [0.0] * PLOT, p.y), CORBEL)
    p.path(_steps(guest, handling, p.y), GUEST)
    p.path(_steps(asleep, running, p.y), HALTED)
    p.y += LANE_HEIGHT + LANE_GAP
    ticks = sum(b - a for a, b in on)
    return ticks, sum(b - a for a, b in exits)


def _union(spans):
    """The same moments, each in one span."""
    out = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((begin, end))
    return out


def _draw_disk(p, stream, disk, requests, begin, span):
    """When a disk had something to do; where reads, writes and others were under way at once they share the height."""
    spans = {READS: [], WRITES: [], FLUSHES: []}
    for r in requests:
        spans[{ts.READ: READS, ts.WRITE: WRITES}.get(ts.request(r).op, FLUSHES)].append((r.time - r.cost, r.time))
    busy = _columns(stream, _union(sum(spans.values(), [])), begin, span)
    each = {colour: _columns(stream, _union(s), begin, span) for colour, s in spans.items()}
    together = [sum(columns) for columns in zip(*each.values())]
    p.text(12, p.y + 15, f"{stream.name(disk[0])[:8]} disk {disk[1]}")
    p.box(LEFT, p.y, PLOT, LANE_HEIGHT, "#11151b")
    below = [0.0] * PLOT
    for colour, columns in each.items():
        part = [c * b / t if t else 0.0 for c, b, t in zip(columns, busy, together)]
        p.path(_steps(part, below, p.y), colour)
        below = [a + b for a, b in zip(below, part)]
    p.y += LANE_HEIGHT + LANE_GAP


def _draw_disks(p, stream, records, begin, span):
    over = [r for r in records if r.kind == ts.BLOCK and r.vm is not None and ts.request(r).over]
    if not over:
        return
    p.y += 8
    disks = {}
    for r in over:
        disks.setdefault((r.vm, ts.request(r).disk), []).append(r)
    for disk, requests in sorted(disks.items()):
        _draw_disk(p, stream, disk, requests, begin, span)
    count = Counter(ts.request(r).op for r in over)
    others = sum(count.values()) - count[ts.READ] - count[ts.WRITE]
    errors = sum(bool(ts.request(r).error) for r in over)
    p.y += 10
    _legend(p, [("reads", READS, str(count[ts.READ])), ("writes", WRITES, str(count[ts.WRITE])),
                ("flushes and others", FLUSHES, f"{others}" + (f"; {errors} errors" if errors else ""))])


def _draw_processors(p, stream, records, begin, span, end, vcpus):
    """Which vCPU ran where; colours by vCPU."""
    for cpu in sorted({r.cpu for r in records}):
        p.text(12, p.y + 15, f"cpu {cpu}")
        p.box(LEFT, p.y, PLOT, LANE_HEIGHT, "#11151b")
        below = [0.0] * PLOT
        for n, vcpu in enumerate(vcpus):
            spans = [(a.time, b.time if b else end) for a, b in stays(records)
                     if a.cpu == cpu and (a.vm, a.vcpu) == vcpu]
            columns = _columns(stream, spans, begin, span)
            p.path(_steps(columns, below, p.y), COLOURS[n % len(COLOURS)])
            below = [a + b for a, b in zip(below, columns)]
        p.y += LANE_HEIGHT + LANE_GAP


def _legend(p, entries):
    x = LEFT
    for name, colour, said in entries:
        text = f"{name} {said}".strip()
        width = 24 + 7.4 * len(text) + 18
        if x + width > WIDTH - RIGHT and x > LEFT:
            x = LEFT
            p.y += LEGEND_ROW
        p.box(x, p.y - 9, 11, 11, colour)
        p.text(x + 17, p.y, text)
        x += width
    p.y += LEGEND_ROW


def svg(stream, records):
    """The picture's text; records in the order of time, one at least."""
    exits = [r for r in records if r.kind == ts.EXIT]
    end = max(map(ts.end_of, records))
    begin = stream.seconds(records[0].time)
    span = max(stream.seconds(end) - begin, 1e-9)
    vcpus = sorted({(r.vm, r.vcpu) for r in records if r.vm is not None and r.kind in (ts.EXIT, ts.SCHEDULING)})
    vms = {vm for vm, _ in vcpus} | {r.vm for r in records if r.vm is not None and r.kind == ts.BLOCK}
    names = ", ".join(map(stream.name, sorted(vms))) or "no VM"
    lost = sum(loss.count for loss in stream.losses)
    heading = f"{names}: {len(exits)} VM exits in {_duration(span)}" + (f"; {lost} records lost" if lost else "")
    p = Picture()
    p.text(12, 24, heading, "t")
    p.y = 48
    legend = _draw_exits(p, stream, exits, begin, span)
    _draw_axis(p, begin, span)
    _legend(p, legend)
    p.y += 8
    ran = handled = 0
    for vcpu in vcpus:
        a, b = _draw_lane(p, stream, vcpu, records, begin, span, end)
        ran, handled = ran + a, handled + b
    p.y += 10
    share = f"{100 * handled / ran:.2f} %" if ran else ""
    _legend(p, [("in the guest", GUEST, ""), ("in Corbel", CORBEL, share), ("halted", HALTED, "")])
    _draw_disks(p, stream, records, begin, span)
    if len(vcpus) > 1 or len({r.cpu for r in records}) > 1:
        p.y += 8
        _draw_processors(p, stream, records, begin, span, end, vcpus)
        p.y += 10
        _legend(p, [(f"{stream.name(vm)}/{n}", COLOURS[i % len(COLOURS)], "") for i, (vm, n) in enumerate(vcpus)])
    return p.finish(heading + ": exits over time by reason, and what each vCPU did")


def write_svg(stream, records, path):
    if not records:
        return
    with open(path, "w", encoding="utf-8") as f:
        f.write(svg(stream, records))
