"""Tools look at what can fail before the work, and what came is not lost when it fails all the same."""
import os
import re
import select
import shutil
import socket
import subprocess
import threading

from harness import BUILD, TOP, expect, expect_in, scenario


def tool(name, *arguments, status=0, timeout=60):
    """What a tool says."""
    p = subprocess.run([os.path.join(TOP, "tools", name), *arguments], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout)
    expect(p.returncode == status, f"tools/{name} {' '.join(arguments)} ends with {p.returncode}: {p.stdout[-2000:]}")
    expect("Traceback" not in p.stdout, p.stdout)
    return p.stdout


# --- tools/initramfs ---


@scenario(bound=30)
def initramfs_files(lab):
    """Folders come before their files, a name may have any letters; what cannot be is said, and no OUT is left."""
    out, one = lab.path("initrd"), lab.file("one", b"one")
    os.chmod(one, 0o750)
    tool("initramfs", out, f"opt/a/b/one={one}", f"/opt/a//two={one}", f"t\u00fcr/\u00e4={one}", f"bin/ls={one}")
    with open(out, "rb") as f:
        root = lab.path("root")
        os.mkdir(root)
        p = subprocess.run(["cpio", "-i", "--quiet", "-u", "opt*", "t*r*", "bin", "bin/ls"], cwd=root, stdin=f,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    # Without -d cpio makes no folder by itself, as Linux does not.
    expect(p.returncode == 0 and not p.stdout, p.stdout)
    for name in ("opt/a/b/one", "opt/a/two", "t\u00fcr/\u00e4", "bin/ls"):
        path = os.path.join(root, name)
        expect(os.path.isfile(path) and os.stat(path).st_mode & 0o777 == 0o750, f"{name} is not there, or has no mode")
    os.remove(out)
    for name in ("", "/", "..", "a/../b", "a/"):
        expect_in(r"initramfs: .* is no name for a file", tool("initramfs", out, f"{name}={one}", status=1))
    expect_in(r"/bin is a folder", tool("initramfs", out, f"bin={one}", status=1))
    expect_in(r"/init is no folder", tool("initramfs", out, f"init/one={one}", status=1))
    expect_in(r"No such file.*none", tool("initramfs", out, f"one={lab.path('none')}", status=1))
    expect_in(r"Is a directory", tool("initramfs", out, f"one={lab.folder}", status=1))
    for bad in (lab.path("no/folder"), lab.folder):
        expect_in(r"initramfs: .*(No such|Is a directory)", tool("initramfs", bad, f"x={lab.path('none')}", status=1))
    left = [n for n in os.listdir(lab.folder) if n.startswith("initrd")]
    expect(not left, f"left behind: {left}")


# --- tools/arrows ---


ROWS = """| Folder | May call and include |
|---|---|
| `mm` |  |
| `guest/vm` | `mm` |
| `guest` | `guest/vm` `mm` |
"""


class Tree:
    """A few sources with their objects, and the tool beside them."""

    def __init__(self, lab):
        self.folder = lab.path("tree")
        for folder in ("docs", "tools", "mm", "guest/vm"):
            os.makedirs(os.path.join(self.folder, folder))
        shutil.copy(os.path.join(TOP, "tools/arrows"), os.path.join(self.folder, "tools"))
        self.write("docs/ARCHITECTURE.md", ROWS)
        self.source("mm/frame.c", "void frame_alloc(void) {}")
        self.source("guest/vm/vm.c", '#include "mm/frame.h"', "void frame_alloc(void); void vm(void) { frame_alloc(); }")
        self.write("mm/frame.h", "")
        self.write("guest/vm/vm.h", "")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
            f.write(text)

    def source(self, name, *lines):
        self.write(name, "\n".join(lines) + "\n")
        out = os.path.join(self.folder, "build/kernel", name[:-2] + ".o")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        text = "\n".join(line for line in lines if not line.startswith("#include"))
        subprocess.run(["gcc", "-x", "c", "-c", "-o", out, "-"], input=text, text=True, check=True)

    def remove(self, name):
        os.remove(os.path.join(self.folder, name))
        os.remove(os.path.join(self.folder, "build/kernel", name[:-2] + ".o"))

    def check(self, status, *patterns):
        p = subprocess.run(["tools/arrows", "build"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False)
        expect(p.returncode == status, f"arrows ends with {p.returncode}: {p.stdout}")
        for pattern in patterns:
            expect_in(pattern, p.stdout)


@scenario(bound=120)
def tools_arrows(lab):
    """A call or an include that the table does not allow, circles, a crowd at the top of guest/,
    and a header that includes half of it are found."""
    tree = Tree(lab)
    tree.check(0, r"^arrows: 0 that nothing allows")
    tree.source("mm/space.c", '#include "guest/vm/vm.h"')
    tree.check(1, r"mm/space.c includes guest/vm/vm.h: mm/ may not use guest/vm/")
    tree.source("mm/space.c", "void vm(void); void space(void) { vm(); }")
    tree.check(1, r"mm/space.c calls vm of guest/vm/vm.c: mm/ may not use guest/vm/", r"circle: guest/vm mm$")
    tree.write("docs/ARCHITECTURE.md", ROWS.replace("| `mm` |  |", "| `mm` | `guest/vm` |"))
    tree.check(1, r"circle: guest/vm mm$")
    tree.write("docs/ARCHITECTURE.md", ROWS)
    tree.remove("mm/space.c")
    for count, status in (7, 0), (8, 1):
        for i in range(count):
            tree.source(f"mm/f{i}.c", f"void f{(i + 1) % count}(void); void f{i}(void) {{ f{(i + 1) % count}(); }}")
        tree.check(status, *[r"^8 files of one folder call each other in a circle"] * status)
    for i in range(8):
        tree.remove(f"mm/f{i}.c")
    for i in range(7):
        tree.write(f"guest/vm/h{i}.h", "")
    many = [f'#include "guest/vm/h{i}.h"\n' for i in range(7)]
    tree.write("guest/vm/vm.h", '#include "mm/frame.h"\n' + "".join(many[:6]))
    tree.source("guest/vm/all.c", *many)
    tree.check(0)
    tree.write("guest/vm/vm.h", "".join(many))
    tree.check(1, r"guest/vm/vm.h includes 7 headers of guest/, more than 6")
    tree.write("guest/vm/vm.h", "")
    for i in range(7):
        tree.check(0)
        tree.source(f"guest/g{i}.c", f"void g{i}(void) {{}}")
    tree.check(1, r"guest/ has 7 .c files at its top")


# --- tools/documents ---


# A document or a source, what stands there, what shall stand there instead, and what the tool says then.
UNTRUE = (
    ("docs/CONFIG.md", "| `when_idle` |", "| `when_idel` |", r"CONFIG.md has the \[host\] key 'when_idel', which guest/config/config_keys.c"),
    ("guest/config/config_keys.c", '.name = "autostart"', '.name = "starts"', r"CONFIG.md lacks the \[vm\] key 'starts' of guest/config"),
    ("docs/NETWORK.md", "\n    vlans = yes", "\n    vlan = yes", r"^docs/NETWORK.md:\d+: \[switch\] has no key 'vlan'$"),
    ("docs/USING.md", "`resize VM COLUMNSxROWS`", "`resize VM`", r"USING.md has 'resize VM', .* 'resize VM COLUMNSxROWS'$"),
    ("guest/monitor/table.c", '{"nets",', '{"networks",', r"^docs/USING.md lacks the command 'networks' of guest/monitor/table.c$"),
    ("docs/USING.md", "`variables`, `log`. All", "`variables`. All", r"what everybody may do, lacks the command 'log'"),
    ("docs/RESEARCH.md", "corbel> watches debian", "corbel> watched debian", r"^docs/RESEARCH.md:\d+: the monitor has no command 'watched'$"),
    ("docs/ARCHITECTURE.md", "(guest/vm/life.c, pure)", "(guest/vm/alive.c, pure)", r"names guest/vm/alive.c, which does not exist$"),
    ("guest/vm/life.h", "docs/USING.md", "docs/USE" + ".md", r"^guest/vm/life.h names docs/USE.md, which does not exist$"),
    ("docs/ARCHITECTURE.md", "    guest/sched/ ", "    guest/sched  ", r"map lacks the folder 'guest/sched/' of the repository$"),
    ("docs/ARCHITECTURE.md", "`vm_kill(", "`vm_" + "slay(", r"names `vm_sl.y`, which occurs nowhere in the source$"),
    ("docs/ARCHITECTURE.md", "`make bench`", "`make benches`", r"names `make benches`, which the Makefile does not know$"),
    ("docs/PARAVIRT.md", "| `poll` |", "| `pole` |", r"table lacks the name 'poll' of guest/config/config.h$"),
    ("docs/HARDWARE.md", "| Intel 82545EM |", "| Intel 82546EB |", r"HARDWARE.md lacks the card '82545EM' of drivers/e1000_models.c$"),
    ("docs/HARDWARE.md", "| vmx: VMXON was refused |", "| vmx: VMXON was unheard of |", r"explains 'VMXON was unheard of', which nothing says$"),
    ("docs/COM2.md", "| `--keep FILE` |", "| `--hold FILE` |", r"COM2.md lacks the option '--keep' of tools/com2$"),
    ("README.md", "(docs/TRACE.md)", "(docs/TRACES.md)", r"^README.md has a link to docs/TRACES.md, which does not exist$"),
    ("docs/EVIDENCE.md", "# Evidence", "# Evidence\n[x](USING.md#a-seance)", r"a link to USING.md#a-seance: there is no such heading$"),
)


@scenario(bound=240)
def tools_documents(lab):
    """What documents name is there, and what there is they name; each untruth is found."""
    tool("documents")
    tree = lab.path("tree")
    shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns(".git", "build", "corpus", "__pycache__"))
    for name, old, new, said in UNTRUE:
        path = os.path.join(tree, name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        expect(old in text, f"{name} has no {old!r}: what is untrue instead?")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new, 1))
        p = subprocess.run(["tools/documents"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        expect(p.returncode == 1, f"{new!r} in {name} is not noticed: {p.stdout}")
        expect_in(said, p.stdout)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


# --- tools/trace ---


class Live:
    """A trace that comes by a socket, in as many pieces as it is told to send."""

    def __init__(self, stream):
        self.stream, self.listener = stream, socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.wire = None

    def send(self, begin, end):
        if not self.wire:
            self.listener.settimeout(20)
            self.wire, _ = self.listener.accept()
        self.wire.sendall(self.stream[begin:end])

    def nobody(self):
        """Whether nobody has connected."""
        return not select.select([self.listener], [], [], 0)[0]

    def end(self, reset=False):
        if reset:  # RST instead of FIN
            self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.wire.close()


def wait_for_size(path, size):
    for _ in range(200):
        if os.path.exists(path) and os.path.getsize(path) == size:
            return
        select.select([], [], [], 0.1)
    expect(False, f"{path} does not grow with what comes")


@scenario(bound=60)
def trace_outputs(lab):
    """An output that cannot be written is known before a live session begins; what comes is kept as it comes; a line
    that breaks, or a disk that is full at the end, loses nothing."""
    path = lab.path("stream")
    subprocess.run([os.path.join(BUILD, "unit/test_trace"), "--stream", path], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True)
    with open(path, "rb") as f:
        stream = f.read()
    everything = tool("trace", path).count(" cpu")
    file = lab.file("file")
    live = Live(stream)
    for option, bad in (("--json", lab.path("none/t.json")), ("--json", lab.folder), ("--svg", f"{file}/t.svg"),
                        ("--ctf", file), ("--ctf", f"{file}/ctf")):
        said = tool("trace", live.address, "--json", lab.path("good.json"), option, bad, status=1)
        expect(bad in said and live.nobody(), f"{option} {bad}: {said}")
    expect(not [n for n in os.listdir(lab.folder) if n.startswith("good")], f"left: {os.listdir(lab.folder)}")
    lab.verdict("trace: outputs are looked at first")

    def run(*arguments, status=0, reset=False, meanwhile=None):
        live = Live(stream)
        half = len(stream) // 2
        said = []
        t = threading.Thread(target=lambda: said.append(tool("trace", live.address, *arguments, status=status)))
        t.start()
        live.send(0, half)
        if meanwhile:
            meanwhile(half)
        if not reset:
            live.send(half, len(stream))
        live.end(reset)
        t.join()
        expect(said, "tools/trace has failed, see above")
        return said[0]

    json, kept = lab.path("t.json"), lab.path("t.json.stream")
    ctf = lab.path("ctf")
    lab.file("ctf/cpu77", b"of an earlier trace")
    run("--json", json, "--ctf", ctf, meanwhile=lambda half: wait_for_size(kept, half))
    expect(os.path.getsize(json) and not os.path.exists(kept), "the kept stream stays though all went well")
    expect(not os.path.exists(f"{ctf}/cpu77") and os.path.exists(f"{ctf}/metadata"), f"{os.listdir(ctf)}")
    lab.verdict("trace: kept as it comes")

    os.remove(json)
    said = run("--json", json, status=1, reset=True, meanwhile=lambda half: wait_for_size(kept, half))
    expect_in(r"reset by peer", said)
    expect(os.path.getsize(json), "what came before the line broke is not written")
    lab.verdict("trace: a line that breaks")

    # A folder that is made in the output's place behind the tool's back stands for what nobody could foresee.
    svg, kept = lab.path("t.svg"), lab.path("t.svg.stream")
    lab.file("t.svg.stream", b"of an earlier session")
    said = run("--svg", svg, status=1, meanwhile=lambda half: (wait_for_size(f"{kept}-2", half), os.mkdir(svg)))
    expect_in(rf"what came is in {re.escape(kept)}-2: tools/trace reads it again", said)
    again = tool("trace", f"{kept}-2")
    expect(again.count(" cpu") == everything and os.path.getsize(f"{kept}-2"), "what is kept is not what came")
    with open(kept, "rb") as f:
        expect(f.read() == b"of an earlier session", "an earlier session's stream is overwritten")
    with open("/dev/full", "wb") as full, open(path, "rb") as f:
        p = subprocess.run([os.path.join(TOP, "tools/trace"), "-", "--text", "--json", json], stdin=f, stdout=full,
                           stderr=subprocess.PIPE, text=True, check=False)
    expect(p.returncode == 1 and "the listing: No space" in p.stderr and os.path.getsize(json), p.stderr)
    lab.verdict("trace: nothing is lost when an output fails at the end")


# --- the others ---


@scenario(bound=60)
def tools_look_first(lab):
    """tools/run, image and vmlinux say at once what they lack."""
    file = lab.file("file", b"no disk")
    for arguments, said in (((lab.path("none.img"),), "none.img: No such file"),
                            ((file, "--com2", lab.path("no/where")), "no/where: No such file"),
                            ((file, "--com2", lab.folder), "Is a directory")):
        out = tool("run", *arguments, "--machine", "bochs", status=1, timeout=5)
        expect(said in out and "Bochs" not in out, out)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        out = tool("run", file, "--machine", "bochs", "--gdb", str(taken.getsockname()[1]), status=1, timeout=5)
        expect_in(r"Address already in use", out)
    for bad in (lab.path("no/where"), lab.folder):
        out = tool("vmlinux", lab.path("none"), bad, status=1)
        expect(bad in out and "none" not in out, out)
    efi, confscan = (os.path.join(BUILD, name) for name in ("BOOTX64.EFI", "confscan"))
    expect_in(r"its folder does not exist",
              tool("image", efi, confscan, lab.file("corbel.conf", b""), lab.path("no/where.img"), status=1))
