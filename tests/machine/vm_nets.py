"""VMs with network cards: Debian's kernel and its own virtio-net, through the switch."""
import os
import re
import subprocess

from monitor import Monitor
from harness import BOOT, BUILD, COMMAND, NO_VID, PATIENCE, TOP, Shell, expect, expect_in, host, linux, scenario

MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover", "virtio_net")
FOLDER = os.path.join(BUILD, "disks")  # vmlinuz and modules, of one package
GENERIC_FOLDER = os.path.join(BUILD, "disks-sata")  # the same of the kernel that knows more cards
MIB = 1 << 20
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"

# What the other VM runs in place of init: it answers pings, takes a file, and sends it back. nc ends when its input does,
# whatever comes: where it listens, that never ends.
SERVE = f"""#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for m in {' '.join(MODULES)}; do insmod /modules/$m.ko; done
ip addr add {SERVER}/24 dev eth0
ip link set eth0 up
mkfifo /tmp/never
exec 3<>/tmp/never
nc -l -p 5000 <&3 >/tmp/file
until nc {CLIENT} 5001 </tmp/file; do sleep 1; done
while :; do sleep 1000; done
"""


def initrd(lab, name, folder=FOLDER, modules=MODULES, **more):
    """The default initramfs with the modules that a network card takes, and more files."""
    out = lab.path(name)
    files = [f"modules/{m}.ko={os.path.join(folder, 'modules', m + '.ko')}" for m in modules]
    files += [f"{path}={source}" for path, source in more.items()]
    subprocess.run([os.path.join(TOP, "tools", "initramfs"), out, *files], check=True, stdout=subprocess.DEVNULL)
    return out


def config_of_two(lab, settings, folder=FOLDER, modules=MODULES, net="lan", **keys):
    serve = lab.file("serve", SERVE.encode())
    os.chmod(serve, 0o755)
    kernel = os.path.join(FOLDER, "vmlinuz")
    config = settings + linux("client", kernel=os.path.join(folder, "vmlinuz"), initrd=initrd(lab, "initrd", folder, modules), net=net, **keys)
    config += linux("server", kernel=kernel, initrd=initrd(lab, "initrd.serve", serve=serve), net="lan",
                    cmdline="console=ttyS0 quiet rdinit=/serve", **keys)
    return config + "[switch lan]\n"


def start_client(m, options="", modules=MODULES, slow=1):
    shell = Shell(m, slow)
    shell.run("stty columns 400")  # commands are echoed in one piece
    for module in modules:
        said = shell.run(f"insmod /modules/{module}.ko{options if module == 'virtio_net' else ''} && echo loaded")
        expect(said.strip() == "loaded", f"insmod {module}: {said}")
    said = shell.run(f"ip addr add {CLIENT}/24 dev eth0 && ip link set eth0 up && ip link show eth0")
    expect_in(r"mtu 1500", said, "ip link")
    expect_in(r"link/ether [0-9a-f][26ae](:[0-9a-f]{2}){5}", said, "ip link")
    return shell


def transfer(shell, count):
    """So many pings, none of them lost, and a file of 1 MiB there and back."""
    shell.run(f"until ping -c 1 -W 1 {SERVER} >/dev/null; do :; done", 2 * BOOT)
    said = shell.run(f"ping -c {count} {SERVER}", 120)
    expect_in(rf"^{count} packets transmitted, {count} packets received, 0% packet loss", said, "ping")
    shell.run("mkfifo /tmp/never; exec 3<>/tmp/never")
    said = shell.run(f"dd if=/dev/urandom of=/tmp/file bs=64k count=16 2>/dev/null; "
                     f"until nc {SERVER} 5000 </tmp/file; do sleep 1; done; nc -l -p 5001 <&3 >/tmp/back; "
                     "wc -c </tmp/back; sha256sum </tmp/file; sha256sum </tmp/back", 200)
    size, *sums = re.findall(r"^(\d+|[0-9a-f]{64})\b", said, re.MULTILINE)
    expect(size == str(MIB) and len(sums) == 2 and sums[0] == sums[1], f"what came back is another file:\n{said}")


def back(m):
    """From the monitor to the client; what is typed before it is there would be the monitor's."""
    m.send("console client\r")
    m.read_until(r"^corbel: console of client", COMMAND * PATIENCE)


@scenario(bound=400, slow=True)
def net_two(lab):
    """Two VMs at one switch: pings, a file by TCP in both directions, and what the guest says of its card."""
    m = lab.boot(config_of_two(lab, NO_VID), memory=768)
    shell = start_client(m)
    transfer(shell, 20)
    said = shell.run("grep virtio0-input /proc/interrupts")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+PCI-MSI\s", said, "/proc/interrupts")
    expect(int(count[1]) > 0, f"the card had no interrupts:\n{said}")
    said = shell.run("dmesg | grep -iE 'virtio|eth0|pci.*(fail|error|can.t)'; cat /sys/class/net/eth0/statistics/rx_errors")
    expect(not re.search(r"(?i)failed|failure|can.t|error", said) and said.split()[-1] == "0", f"dmesg complains:\n{said}")
    monitor = Monitor(m)
    monitor.enter()
    said = monitor.run("switch lan")
    for name in ("client", "server"):
        expect_in(rf"^{name}/0 +[0-9a-f][26ae](?::[0-9a-f]{{2}}){{5}} +- +up +[1-9]\d* ", said, "switch lan")
    expect_in(r"^lan +1500 +no +2 +-$", monitor.run("nets"), "nets")
    expect_in(r"^client: link down$", monitor.run("link client down"), "link")
    back(m)
    said = shell.run("sleep 1; cat /sys/class/net/eth0/carrier; ping -c 1 -W 1 " + SERVER)
    expect_in(r"^0$", said, "the link that is down")
    expect_in(r"1 packets transmitted, 0 packets received", said, "ping without a cable")
    monitor.enter()
    expect_in(r"^client: link up$", monitor.run("link client up"), "link")
    back(m)
    said = shell.run(f"sleep 1; cat /sys/class/net/eth0/carrier; ping -c 1 -W 5 {SERVER}")
    expect_in(r"^1$", said, "the link that is up again")
    expect_in(r" 1 packets received", said, "ping")
    end(m, shell, monitor)


def told(shell):
    """How many interrupts each queue of what comes has had, on all processors."""
    said = shell.run("grep virtio0-input /proc/interrupts")
    lines = re.findall(r"^\s*\d+:((?:\s+\d+)+)\s+PCI-MSI\s.*virtio0-input\.(\d+)$", said, re.MULTILINE)
    expect([number for _, number in lines] == ["0", "1"], f"/proc/interrupts has other queues:\n{said}")
    return [sum(map(int, counts.split())) for counts, _ in lines]


@scenario(bound=500, slow=True)
def net_pairs(lab):
    """VMs with two vCPUs, whose cards have a pair of queues for each: what one of them sends is answered by its own."""
    m = lab.boot(config_of_two(lab, NO_VID, cpus=2), memory=768, cpus=2)
    shell = start_client(m)
    said = shell.run("ls /sys/class/net/eth0/queues")
    expect(said.split() == ["rx-0", "rx-1", "tx-0", "tx-1"], f"the card has other queues: {said}")
    transfer(shell, 10)
    for cpu in range(2):
        before = told(shell)
        said = shell.run(f"taskset {1 << cpu} ping -c 10 {SERVER}", 120)
        expect_in(r"^10 packets transmitted, 10 packets received, 0% packet loss", said, "ping")
        more = [after - count for after, count in zip(told(shell), before)]
        expect(more[cpu] >= 10 > more[1 - cpu], f"what processor {cpu} has asked was answered elsewhere: {more}")
    said = shell.run("dmesg | grep -iE 'virtio|eth0'; cat /sys/class/net/eth0/statistics/rx_errors")
    expect(not re.search(r"(?i)failed|failure|can.t|error", said) and said.split()[-1] == "0", f"dmesg complains:\n{said}")
    end(m, shell, Monitor(m))


def end(m, shell, monitor):
    monitor.enter()
    expect_in(r"^server: is killed$", monitor.run("kill server"), "kill")
    back(m)
    shell.run("true")
    shell.poweroff()
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")  # the prompt is where its last lines are


@scenario(bound=500, slow=True)
def net_e1000(lab):
    """Debian's generic kernel, by its e1000, with checksums and segments left to the card; the other one's card is virtio-net."""
    m = lab.boot(config_of_two(lab, NO_VID, GENERIC_FOLDER, ("e1000",), "lan,model=e1000"), memory=1024)
    shell = start_client(m, modules=("e1000",), slow=3)
    transfer(shell, 20)
    said = shell.run("grep eth0 /proc/interrupts")
    count = expect_in(r"^\s*\d+:\s+(\d+)\s+IO-APIC\s", said, "/proc/interrupts")
    expect(int(count[1]) > 0, f"the card had no interrupts:\n{said}")
    said = shell.run("dmesg | grep -iE 'e1000|eth0'; cat /sys/class/net/eth0/statistics/rx_errors")
    expect_in(r"e1000: eth0 NIC Link is Up 1000 Mbps Full Duplex", said, "dmesg")
    expect(not re.search(r"(?i)failed|failure|can.t|error|\bhang", said) and said.split()[-1] == "0", f"dmesg complains:\n{said}")
    monitor = Monitor(m)
    monitor.enter()
    expect_in(r"^client: link down$", monitor.run("link client down"), "link")
    back(m)
    expect_in(r"^0$", shell.run("sleep 3; cat /sys/class/net/eth0/carrier"), "the link that is down")
    monitor.enter()
    expect_in(r"^client: link up$", monitor.run("link client up"), "link")
    back(m)
    said = shell.run(f"sleep 3; cat /sys/class/net/eth0/carrier; ping -c 1 -W 5 {SERVER}")
    expect_in(r"^1$", said, "the link that is up again")
    expect_in(r" 1 packets received", said, "ping")
    end(m, shell, monitor)


@scenario(bound=400, soak=True)
def net_two_reloaded(lab):
    """The same, without offloads where the file comes from, while the state of both cards is saved, wiped and reloaded."""
    m = lab.boot(config_of_two(lab, host(without="vid", test_reload=50)), memory=768)
    shell = start_client(m, " csum=0 gso=0")
    transfer(shell, 20)
    end(m, shell, Monitor(m))
    expect_in(r"corbel:   state saved, wiped and reloaded \d{2,} times", m.text())
