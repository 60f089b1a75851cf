"""tools/debian-kernel: Debian's kernel out of whatever packages it comes in."""
import lzma
import os
import subprocess

from harness import TOP, expect, expect_in, scenario

IMAGE = "linux-image-9.9-cloud-amd64"
# Stand in for apt's, for a repository of one folder: DEPENDS has lines "PACKAGE DEPENDS...".
APT_CACHE = """#!/bin/sh
for package in "$@"; do :; done
sed -n "s/^$package //p" "$ARCHIVE/DEPENDS" | tr ' ' '\\n' | sed 's/^/  Depends: /'
"""
APT_GET = """#!/bin/sh
[ "$2" != update ] || { touch "$ARCHIVE/updated"; exit 0; }
shift 2
for package in "$@"; do cp "$ARCHIVE/$package"_*.deb . || exit 100; done
"""


def package(lab, name, files):
    for path, data in files.items():
        lab.file(f"make/{name}{path}", data)
    lab.file(f"make/{name}/DEBIAN/control", f"""\
Package: {name}
Version: 9.9-1
Architecture: amd64
Maintainer: nobody <nobody@example.org>
Description: a test
""")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", lab.path(f"make/{name}"), lab.path("archive")],
                   stdout=subprocess.DEVNULL, check=True)


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def tool(lab, *arguments):
    return subprocess.run([os.path.join(TOP, "tools/debian-kernel"), *arguments], cwd=lab.folder,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, env=dict(os.environ, PATH=f"{lab.path('bin')}:{os.environ['PATH']}",
                                                ARCHIVE=lab.path("archive"), TMPDIR=lab.folder))


def bytes_of(lab, name):
    with open(lab.path(name), "rb") as f:
        return f.read()


@scenario(bound=60)
def debian_kernel_packages(lab):
    """One package with all (Debian 12, 13), a package for each part (later), modules however they are compressed; and
    what is missing is said, nothing is left behind."""
    for name, script in (("apt-cache", APT_CACHE), ("apt-get", APT_GET)):
        lab.file(f"bin/{name}", script)
        os.chmod(lab.path(f"bin/{name}"), 0o755)
    modules = "/usr/lib/modules/9.9/kernel"
    wanted = {"kvm.ko": b"kvm", "kvm-intel.ko": b"intel", "irqbypass.ko": b"bypass"}

    lab.file("archive/DEPENDS", f"linux-image-cloud-amd64 linux-base-cloud-amd64 {IMAGE}\n{IMAGE} kmod linux-base\n")
    package(lab, IMAGE, {"/boot/vmlinuz-9.9-cloud-amd64": b"the old way",
                         f"{modules.replace('/usr', '')}/kvm.ko": b"kvm",
                         f"{modules.replace('/usr', '')}/kvm-intel.ko.xz": lzma.compress(b"intel"),
                         f"{modules.replace('/usr', '')}/irqbypass.ko.zst": zstd(b"bypass")})
    p = tool(lab, "cloud", "old/vmlinuz", "old/modules", "kvm", "kvm-intel", "irqbypass")
    expect(p.returncode == 0 and f"{IMAGE} 9.9-1" in p.stdout, p.stdout)
    expect(bytes_of(lab, "old/vmlinuz") == b"the old way", "another kernel")
    expect({n: bytes_of(lab, f"old/modules/{n}") for n in os.listdir(lab.path("old/modules"))} == wanted, "modules")

    parts = [IMAGE.replace("image", part) for part in ("base", "binary", "modules")]
    lab.file("archive/DEPENDS", f"linux-image-cloud-amd64 linux-base-cloud-amd64 {IMAGE}\n{IMAGE} {' '.join(parts)}\n")
    os.remove(lab.path(f"archive/{IMAGE}_9.9-1_amd64.deb"))
    package(lab, parts[1], {"/usr/lib/modules/9.9/vmlinuz": b"the new way"})
    package(lab, parts[2], {f"{modules}/{name}.xz": lzma.compress(data) for name, data in wanted.items()})
    p = tool(lab, "cloud", "new/vmlinuz", "new/modules", "kvm", "kvm-intel", "irqbypass")
    expect(p.returncode == 0 and f"{parts[1]} 9.9-1" in p.stdout, p.stdout)
    expect(bytes_of(lab, "new/vmlinuz") == b"the new way", "another kernel")
    expect({n: bytes_of(lab, f"new/modules/{n}") for n in os.listdir(lab.path("new/modules"))} == wanted, "modules")

    p = tool(lab, "cloud", "none/vmlinuz", "none/modules", "kvm", "vfio")
    expect(p.returncode == 1 and not os.listdir(lab.path("none"))[1:], f"{p.returncode}: {p.stdout}")
    expect_in(r"no module vfio is in", p.stdout)
    package(lab, parts[1], {})
    os.remove(lab.path(f"make/{parts[1]}/usr/lib/modules/9.9/vmlinuz"))
    package(lab, parts[1], {})
    p = tool(lab, "cloud", "none/vmlinuz")
    expect(p.returncode == 1 and not os.path.exists(lab.path("none/vmlinuz")), f"{p.returncode}: {p.stdout}")
    expect_in(r"no kernel is in", p.stdout)

    # Nothing is downloaded for an OUT that cannot be written.
    lab.file("file", b"")
    lab.file("archive/DEPENDS", "")
    p = tool(lab, "cloud", "file/vmlinuz")
    expect(p.returncode and not os.path.exists(lab.path("archive/updated")), f"{p.returncode}: {p.stdout}")
    for arguments in ((), ("cloudy", "out"), ("cloud",)):
        p = tool(lab, *arguments)
        expect(p.returncode == 2 and "cloud" in p.stdout, f"{arguments}: {p.returncode}: {p.stdout}")
    p = tool(lab, "cloud", "out")
    expect(p.returncode == 1 and os.path.exists(lab.path("archive/updated")), f"{p.returncode}: {p.stdout}")
    expect_in(r"knows no linux-image-cloud-amd64: its sources", p.stdout)
    left = sorted(n for n in os.listdir(lab.folder) if n.startswith("tmp.") or n.endswith(".part"))
    expect(not left, f"left behind: {left}")
