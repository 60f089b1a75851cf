"""What `make image` and `make run` refuse, so that no file, partition or device is lost: nothing here boots."""
import fcntl
import os
import shutil
import subprocess

from disks import contents, sgdisk, write_into
from harness import BUILD, TOP, expect, expect_in, scenario
from tool_outputs import tool
import partitions

EFI, CONFSCAN = (os.path.join(BUILD, name) for name in ("BOOTX64.EFI", "confscan"))
MIB = 1 << 20


def image(config, out, *options, status=0):
    return tool("image", *options, EFI, CONFSCAN, config, out, status=status)


def read(path):
    with open(path, "rb") as f:
        return f.read()


@scenario(bound=120)
def make_image_sources(lab):
    """OUT that is, by whatever name, one of the files that the config names stays what it is, also where something else
    of the config cannot be carried out."""
    config = "[vm x]\nkernel = kernel\ninitrd = initrd\nmodule = module\ndisk = ram:ram\n"
    names = ("kernel", "initrd", "module", "ram", "from")
    for name in names:
        lab.file(name, name.encode() * 1000)
    conf = lab.file("a.conf", config + "[disk d]\nfrom = from\n")
    broken = lab.file("b.conf", config + "[disk d]\nfrom = from\n[disk e]\nfrom = nowhere\n")
    for name in names + ("a.conf", "b.conf"):
        path, before = lab.path(name), read(lab.path(name))
        os.link(path, lab.path("hard.img"))
        os.symlink(path, lab.path("soft.img"))
        for out in (path, lab.path("hard.img"), lab.path("soft.img")):
            for c in (conf, broken):
                if name in ("a.conf", "b.conf") and c != path:
                    continue
                expect_in(r"names this very file|is what the image is made of", image(c, out, status=1))
        expect(os.path.islink(lab.path("soft.img")) and os.path.samefile(path, lab.path("hard.img")) and read(path) == before,
               f"{name} is no longer what it was")
        os.remove(lab.path("hard.img"))
        os.remove(lab.path("soft.img"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", lab.path("from"), "-F", "raw", lab.path("top.qcow2")],
                   stdin=subprocess.DEVNULL, check=True)
    on_top = lab.file("d.conf", "[disk d]\nfrom = top.qcow2\n")
    expect_in(r"names this very file", image(on_top, lab.path("from"), status=1))
    expect(read(lab.path("from")) == b"from" * 1000, "what a qcow2 file is based on is no longer what it was")
    image(on_top, lab.path("out.img"))
    expect(contents(lab.path("out.img"), "d") == (b"from" * 1000).ljust(MIB, b"\0"), "d is not what the qcow2 file holds")
    shutil.copy(lab.path("from"), lab.path("from.iso"))
    image(lab.file("c.conf", config + "[disk d]\nfrom = from.iso\n"), lab.path("from.iso"), status=1)
    expect(read(lab.path("from.iso")) == read(lab.path("from")), "an ISO image has taken the place of a file that the config names")


@scenario(bound=60)
def make_image_firmware(lab):
    """`firmware = bios` and `uefi` and `display = vga` are Debian's packages' files, unless there is a file of that name; the
    config's copy names the image's. A kernel of that name is none."""
    conf = lab.file("test.conf", "[vm a]\nfirmware = bios\ndisplay = vga\n[vm b]\nfirmware = uefi\n[vm c]\nkernel = uefi\n"
                    "display = none\n")
    out = lab.path("out.img")

    def on_image(name):
        return subprocess.run(["mtype", "-i", f"{out}@@{MIB}", f"::/corbel/{name}"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, check=True).stdout

    image(conf, out)
    expect(on_image("corbel.conf") == b"[vm a]\nfirmware = bios-256k.bin\ndisplay = vgabios-stdvga.bin\n[vm b]\nfirmware = uefi.fd\n"
           b"[vm c]\nkernel = uefi\ndisplay = none\n", "the config names other files")
    expect(on_image("vgabios-stdvga.bin") == read("/usr/share/seabios/vgabios-stdvga.bin"), "the video BIOS is another one")
    expect(on_image("bios-256k.bin") == read("/usr/share/seabios/bios-256k.bin"), "the BIOS is another one")
    expect(on_image("uefi.fd") == read("/usr/share/OVMF/OVMF_VARS_4M.fd") + read("/usr/share/OVMF/OVMF_CODE_4M.fd"),
           "the UEFI firmware is another one")
    lab.file("bios", b"of one's own")
    image(conf, out)
    expect(on_image("bios") == b"of one's own", "one's own file was passed by")


def with_partition(lab, name="out.img"):
    """A config, and an image of it whose partition `a` has been written to."""
    conf, out = lab.file("test.conf", "[disk a]\nsize = 1M\n"), lab.path(name)
    image(conf, out)
    write_into(out, "a", b"written to a")
    return conf, out


@scenario(bound=60)
def make_image_unsure(lab):
    """Where nobody can tell whether OUT has partitions, it has."""
    conf, out = with_partition(lab)
    with open(out, "r+b") as f:
        for at in (512 + 40, -512 + 40):  # in both headers
            f.seek(at, os.SEEK_SET if at > 0 else os.SEEK_END)
            f.write(b"\1")
    before = read(out)
    expect_in(r"is damaged, and so is the backup; FRESH=1", image(conf, out, status=1))
    image(lab.path("none.conf"), out, status=1)
    expect_in(r"is damaged, and so is the backup", tool("run", out, "--machine", "bochs", status=1, timeout=5))
    expect(read(out) == before, "a damaged table cost an image")
    image(conf, out, "--fresh")
    expect(contents(out, "a") == bytes(MIB), "--fresh has kept something")
    loop = lab.path("loop.img")
    os.symlink(loop, loop)
    try:
        found = partitions.existing(loop)
    except OSError:
        found = None
    expect(found is None, "what cannot be opened has no partitions")


@scenario(bound=60)
def make_image_in_use(lab):
    """Nobody gets at an image while its successor is made; who waited for it has the successor; who writes to it keeps it."""
    conf, out = with_partition(lab)
    # Each tool that it starts tries to lock OUT first.
    os.mkdir(lab.path("bin"))
    for name in ("sgdisk", "dd", "mcopy"):
        real = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        path = lab.file(f"bin/{name}", f"#!/bin/sh\nflock -n {out} true && echo {name} >> {lab.path('had')}\n"
                        f"echo {name} >> {lab.path('tried')}\nexec {real} \"$@\"\n")
        os.chmod(path, 0o755)
    p = subprocess.run([os.path.join(TOP, "tools/image"), EFI, CONFSCAN, conf, out], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                       env=dict(os.environ, PATH=f"{lab.path('bin')}:{os.environ['PATH']}"))
    expect(p.returncode == 0 and {b"sgdisk", b"dd", b"mcopy"} <= set(read(lab.path("tried")).split()), p.stdout)
    expect(not os.path.exists(lab.path("had")), "OUT could be had while its successor was made")
    expect(contents(out, "a").startswith(b"written to a"), "what was written is lost")

    with partitions.lock(out):
        for options in ((), ("--fresh",)):
            expect_in(r"a machine runs on it", image(conf, out, *options, status=1))
        expect_in(r"a machine runs on it", tool("run", out, "--machine", "bochs", status=1, timeout=5))

    # It is replaced between its opening and its locking.
    flock, successor = fcntl.flock, lab.path("successor.img")
    shutil.copy(out, successor)

    def late(f, how):
        if os.path.exists(successor):
            os.replace(successor, out)
        flock(f, how)

    fcntl.flock = late
    try:
        lock = partitions.lock(out)
    finally:
        fcntl.flock = flock
    expect(os.path.samestat(os.fstat(lock.fileno()), os.stat(out)), "what is locked is not the image any more")
    lock.close()

    link = lab.path("com2")
    os.link(out, link)
    expect_in(r"is the image itself", tool("run", out, "--machine", "bochs", "--com2", link, status=1, timeout=5))


@scenario(bound=60)
def make_image_read_only(lab):
    """An image that is read-only stays, and a sentence says so."""
    conf, out = with_partition(lab)
    os.chmod(out, 0o444)
    before = read(out)
    tools = os.path.join(TOP, "tools")
    for name in ("image", "run", *(n for n in os.listdir(tools) if n.endswith(".py"))):
        shutil.copy(os.path.join(tools, name), lab.path(name))
    for path in (EFI, CONFSCAN):
        shutil.copy(path, lab.folder)
    os.chmod(lab.folder, 0o777)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    for command, said in (((lab.path("image"), lab.path("BOOTX64.EFI"), lab.path("confscan"), conf, out), r"out\.img: is read-only"),
                          ((lab.path("run"), out, "--machine", "bochs"), r"out\.img: is read-only, and has partitions")):
        p = subprocess.run([*nobody, "/usr/bin/env", f"TMPDIR={lab.folder}", "python3", *command], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=20)
        expect(p.returncode == 1 and "Traceback" not in p.stdout, p.stdout)
        expect_in(said, p.stdout, command[0])
        expect(read(out) == before, "a read-only image has changed")


def mbr(path):
    """An MBR with a partition of Linux'."""
    with open(path, "r+b") as f:
        f.seek(446)
        f.write(bytes([0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]))
        f.seek(510)
        f.write(b"\x55\xaa")


def foreign_esp(path):
    sgdisk(path, "--clear", "--new=1:2048:4095", "--typecode=1:ef00", "--change-name=1:EFI System Partition",
           "--new=2:4096:6143", "--change-name=2:root")


@scenario(bound=60)
def make_image_would_lose(lab):
    """Partitions that the new image has no place for: OUT stays, unless that is asked for. An older ISO has none."""
    conf, out = lab.file("test.conf", "[disk a]\nsize = 1M\n"), lab.path("disk.img")
    for make_them, said in ((mbr, r"partitions in an MBR would be lost; FRESH=1"),
                            (foreign_esp, r"the EFI system partition 'EFI System Partition', which is none of Corbel's would be lost")):
        with open(out, "wb") as f:
            f.truncate(64 * MIB)
        make_them(out)
        before = read(out)
        expect_in(said, image(conf, out, status=1))
        expect(read(out) == before, "it has changed")
        image(conf, out, "--fresh")
        expect([p.name for p in partitions.existing(out)] == ["a"], "--fresh has kept something")
    iso = lab.path("corbel.iso")
    image(conf, iso)
    expect(partitions.survey(iso) == ([], []), "an ISO has partitions that are anybody's")
    image(lab.path("none.conf"), iso, status=1)
    expect(not os.path.exists(iso), "an older ISO is there after a failure")


@scenario(bound=60)
def make_image_device(lab):
    """The same on a device, if this machine lets us have one: what it has stays where it does not fit, and is kept where it does."""
    conf, out = with_partition(lab)
    p = subprocess.run(["losetup", "--find", "--show", lab.path("out.img")], env=dict(os.environ, PATH="/usr/sbin:/sbin:/usr/bin:/bin"),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if p.returncode:
        return  # no root, no loop devices: make_image_would_lose has shown what does not need one
    device = p.stdout.strip()
    try:
        before = read(out)
        for config, said in (("[disk a]\nsize = 1M\n[disk b]\nsize = 8M\n", r"the image has \d+ bytes, the device"),
                             ("[disk a]\nsize = 1M\n[disk b]\nfrom = nowhere\n", r"nowhere: No such file")):
            expect_in(said, image(lab.file("more.conf", config), device, status=1))
            expect(read(out) == before, "the device has changed")
        image(conf, device)
        expect(contents(device, "a").startswith(b"written to a"), "what was written is lost")
        held = os.open(device, os.O_RDONLY | os.O_EXCL)  # as a mounted one is
        expect_in(r"it is in use", image(conf, device, "--fresh", status=1))
        os.close(held)
        with open(device, "r+b") as f:
            f.write(bytes(len(before)))
        mbr(device)
        expect_in(r"partitions in an MBR would be lost", image(conf, device, status=1))
        image(conf, device, "--fresh")
        expect(contents(device, "a") == bytes(MIB), "--fresh has kept something")
    finally:
        subprocess.run(["/usr/sbin/losetup", "--detach", device], check=False)
