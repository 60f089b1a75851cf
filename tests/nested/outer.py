"""A machine without VT-x that carries KVM: Bochs, which emulates VMX, with Debian's cloud kernel, KVM's modules and QEMU.

The outer Linux comes from a CD by the legacy BIOS, the quickest way, and has one initramfs with QEMU and its libraries,
what is wanted beside them, and an /init of the caller's.
"""
import os
import re
import shutil
import subprocess

from machine import Machine

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "nested")
QEMU = "/usr/bin/qemu-system-x86_64"
MODEL = "corei7_skylake_x"
# One tick is one instruction: a slower clock would leave the outer kernel no time between two of its timer's ticks.
IPS = 400_000_000


def put(source, root, name):
    to = os.path.join(root, name.lstrip("/"))
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copy(source, to)


def libraries(program):
    out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.findall(r"(/\S+) \(0x", out)


def initramfs(root, init, files, out):
    for folder in ("dev", "proc", "sys", "tmp", "bin"):
        os.makedirs(os.path.join(root, folder))
    put("/bin/busybox", root, "bin/busybox")
    put(init, root, "init")
    os.chmod(os.path.join(root, "init"), 0o755)
    put(os.path.join(FOLDER, "poll_uart"), root, "poll_uart")
    for module in os.listdir(os.path.join(FOLDER, "modules")):
        put(os.path.join(FOLDER, "modules", module), root, module)
    for file in (QEMU, *libraries(QEMU)):
        put(file, root, file)
    for name, file in files.items():
        put(file, root, name)
    names = subprocess.run(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE, check=True).stdout
    with open(out, "wb") as f:
        subprocess.run(["cpio", "-0", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, input=names, stdout=f,
                       check=True)


def cd(folder, init, files, cmdline):
    """A CD in that folder which boots the outer Linux; files are {name in its initramfs: file}."""
    root, tree, out = (os.path.join(folder, name) for name in ("root", "cd", "outer.iso"))
    put("/usr/lib/ISOLINUX/isolinux.bin", tree, "isolinux.bin")
    put("/usr/lib/syslinux/modules/bios/ldlinux.c32", tree, "ldlinux.c32")
    put(os.path.join(FOLDER, "vmlinuz"), tree, "vmlinuz")
    initramfs(root, init, files, os.path.join(tree, "initrd"))
    with open(os.path.join(tree, "isolinux.cfg"), "w", encoding="ascii") as f:
        f.write(f"default outer\nprompt 0\nlabel outer\nkernel vmlinuz\ninitrd initrd\nappend {cmdline}\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", out, "-b", "isolinux.bin", "-no-emul-boot",
                    "-boot-load-size", "4", "-boot-info-table", tree], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    shutil.rmtree(root)
    shutil.rmtree(tree)
    return out


def machine(disc, memory, log):
    """The outer machine with that CD and so many MiB, its COM1 kept in a file."""
    return Machine(disc, model=MODEL, memory=memory, ips=IPS, firmware=["/usr/share/bochs/BIOS-bochs-latest"], log=log,
                   replace={"ata0-master": "ata0-master: type=cdrom, path=disk.img, status=inserted",
                            "boot": "boot: cdrom"})
