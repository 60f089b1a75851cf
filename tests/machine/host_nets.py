"""The machine's own network cards: `mode = check` on each kind that there is an emulator of, and a VM that reaches a peer
outside by an uplink."""
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

from check import report
from harness import BOOT, PATIENCE, Failure, Skip, expect, expect_in, host, linux, scenario
from machine import QEMU_10
from monitor import Monitor
from vm_nets import FOLDER, back, initrd, start_client

CARD_MAC = "52:54:00:ab:cd:01"
PEER_MAC, PEER_IP = bytes.fromhex("5254009abc01"), bytes([10, 9, 8, 7])
ARP = bytes.fromhex("0806000108000604")


class Peer:
    """Somebody on the other end of the wire, who speaks ARP: he asks whoever announces himself, and answers."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            self.other = s.getsockname()[1]
        self.heard, self.over = [], False
        threading.Thread(target=self.run, daemon=True).start()

    def netdev(self):
        return ["-netdev", f"socket,id=wire,udp=127.0.0.1:{self.port},localaddr=127.0.0.1:{self.other}"]

    def send(self, frame):
        self.socket.sendto(frame, ("127.0.0.1", self.other))

    def arp(self, operation, to_mac, to_ip):
        self.send(to_mac + PEER_MAC + ARP + bytes([0, operation]) + PEER_MAC + PEER_IP + to_mac + to_ip)

    def run(self):
        while not self.over:
            frame = self.socket.recv(65536)
            self.heard.append(frame)
            if frame[12:20] != ARP:
                continue
            operation, mac, ip, target = frame[21], frame[22:28], frame[28:32], frame[38:42]
            if operation == 1 and target == ip:  # an announcement
                self.send(b"\xff" * 6 + PEER_MAC + b"\x88\xb5" + bytes(1400))
                self.arp(1, b"\xff" * 6, ip)
            elif operation == 1 and target == PEER_IP:
                self.arp(2, mac, ip)


def check_card(lab, device, said, interrupts=True, beside=(), **machine):
    peer = Peer()
    report(lab, lab.image(host(mode="check", log="debug", check_net="yes")), kind="qemu", model="Nehalem,-vmx",
           extra=[*beside, "-device", f"{device},netdev=wire,mac={CARD_MAC}", *peer.netdev()], **machine)
    text = lab.machines[-1].text()
    how = "with interrupts" if interrupts else "polled"
    expect_in(rf"^corbel: network card net0 at 00:0\d\.0: {said}, {CARD_MAC}, link (up|down); {how}$", text)
    own = expect_in(r"^corbel: net0: as (169\.254\.\d+\.\d+): (\d+) frames heard, (\d+) sent, asked for 1 times$", text)
    expect(int(own[2]) >= 3 and int(own[3]) >= 3, own[0])
    expect_in(r"^corbel:   10\.9\.8\.7 is at 52:54:00:9a:bc:01, and answers$", text)
    expect_in(rf"^corbel: net0: 0 bad frames, 0 overruns, 0 resets; {'[1-9][0-9]*' if interrupts else '0'} interrupts$", text)
    mac, ip = bytes.fromhex(CARD_MAC.replace(":", "")), bytes(map(int, own[1].split(".")))
    answers = [f for f in peer.heard if f[:6] == PEER_MAC and f[20:22] == b"\0\2"]
    expect(len(answers) == 1 and answers[0][22:42] == mac + ip + PEER_MAC + PEER_IP and len(answers[0]) == 60 and
           not any(answers[0][42:]), f"the answer: {answers}")


@scenario(bound=60)
def check_net_e1000(lab):
    """QEMU's 82540EM: INTx, by the line that firmware gave it."""
    check_card(lab, "e1000", "82540EM")


@scenario(bound=60)
def check_net_e1000e(lab):
    """QEMU's 82574L: MSI."""
    check_card(lab, "e1000e", "82574L")


@scenario(bound=60)
def check_net_virtio(lab):
    """QEMU's virtio-net: MSI-X, and frames that may come in several buffers."""
    check_card(lab, "virtio-net-pci", "virtio-net")


@scenario(bound=60)
def check_net_virtio_plain(lab):
    """One without MSI-X, whose frames come in one buffer each."""
    check_card(lab, "virtio-net-pci,vectors=0,mrg_rxbuf=off,disable-legacy=on", "virtio-net", interrupts=False)


@scenario(bound=60, slow=True)
def check_net_igb(lab):
    """QEMU 10's 82576: advanced descriptors, MSI."""
    if not os.path.exists(QEMU_10):
        raise Skip("QEMU 10 is not here: make qemu10")
    check_card(lab, "igb", "82576", qemu=QEMU_10)


@scenario(bound=60)
def check_net_none(lab):
    """A card that Corbel does not drive is named, and left alone."""
    report(lab, lab.image(host(mode="check", check_net="yes")), kind="qemu", model="Nehalem,-vmx", extra=["-device", "rtl8139"])
    expect_in(r"^corbel: network card at 00:0\d\.0: 10ec:8139, which Corbel does not drive$", lab.machines[-1].text())


# What the peer outside runs: a file for who asks for it, and what is sent to it kept as another.
SERVE = """
import http.server, os, socket, threading
def take():
    with socket.create_server(("10.0.0.2", 5000)) as listener, listener.accept()[0] as s, open("part", "wb") as out:
        while data := s.recv(65536):
            out.write(data)
    os.rename("part", "sent")
threading.Thread(target=take, daemon=True).start()
http.server.HTTPServer(("10.0.0.2", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


class Outside:
    """A network namespace with a tap device, whose other end is the emulator's card: 10.0.0.2 is there."""

    def __init__(self, lab):
        self.lab, self.name = lab, f"corbel{os.getpid()}"
        self.server = None
        if not os.access("/dev/net/tun", os.F_OK):
            raise Skip("there is no /dev/net/tun")

    def root(self, *command):
        command = ([] if os.geteuid() == 0 else ["sudo", "-n"]) + list(command)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")

    def __enter__(self):
        self.root("ip", "netns", "add", self.name)
        self.root("ip", "tuntap", "add", "dev", self.name, "mode", "tap", "user", str(os.getuid()))
        return self

    def card(self):
        """Of Bochs, which opens the tap device where it is; it goes into the namespace afterwards."""
        return [f"e1000: card=0, enabled=1, mac={CARD_MAC}, ethmod=tuntap, ethdev=/dev/net/tun:{self.name}"]

    def begin(self):
        self.root("ip", "link", "set", "dev", self.name, "netns", self.name)
        self.root("ip", "-n", self.name, "addr", "add", "10.0.0.2/24", "dev", self.name)
        self.root("ip", "-n", self.name, "link", "set", self.name, "up")
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        folder = os.path.dirname(self.lab.file("file", os.urandom(1 << 20)))
        self.server = subprocess.Popen([*prefix, "ip", "netns", "exec", self.name, sys.executable, "-c", SERVE], cwd=folder,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        if self.server:
            self.server.kill()
            self.server.wait()
        subprocess.run(([] if os.geteuid() == 0 else ["sudo", "-n"]) + ["ip", "netns", "del", self.name], check=False)


def sha(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


@scenario(bound=400, slow=True)
def net_uplink(lab):
    """A VM, Bochs' 82540EM, and a peer outside: pings, a file by TCP each way; offloads are on in the VM. As
    root, or with sudo."""
    with Outside(lab) as outside:
        config = host(without="vid", log="debug") + linux("client", kernel=os.path.join(FOLDER, "vmlinuz"),
                                                          initrd=initrd(lab, "initrd"), net="lan")
        image = lab.image(config + "[switch lan]\nuplink = first\n")
        m = lab.start(image, memory=512, extra=outside.card(), replace={
            "pci": "pci: enabled=1, chipset=i440fx, slot1=e1000",
            "plugin_ctrl": "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, iodebug=1, e1000=1"})
        m.read_until(r"^corbel: switch lan: its uplink is net0, 82540EM\r?$", 200 * PATIENCE)
        outside.begin()
        shell = start_client(m)
        said = shell.run("for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 2 10.0.0.2 >/dev/null && break; done; "
                         "ping -c 10 -W 5 10.0.0.2", 200)
        expect_in(r"^10 packets transmitted, 10 packets received, 0% packet loss", said, "ping")
        said = shell.run("wget -q -O /tmp/file http://10.0.0.2:8000/file; sha256sum </tmp/file", 200)
        expect_in(rf"^{sha(lab.path('file'))}\b", said, "what came")
        shell.run("nc 10.0.0.2 5000 </tmp/file", 200)
        until = time.monotonic() + 30 * PATIENCE
        while not os.path.exists(lab.path("sent")) and time.monotonic() < until:
            time.sleep(0.1)
        expect(sha(lab.path("sent")) == sha(lab.path("file")), "what went out is another file")
        monitor = Monitor(m)
        monitor.enter()
        said = monitor.run("nets")
        expect_in(r"^lan +1500 +no +2 +net0 82540EM, up(, polled)?$", said, "nets")
        expect_in(r"^  net0: [1-9]\d+ sent, [1-9]\d+ heard, [1-9]\d+ interrupts; lost: 0 no room, 0 bad; 0 overruns, 0 resets$",
                  said, "nets")
        expect_in(rf"^uplink net0 +{CARD_MAC} +- +up +[1-9]\d* ", monitor.run("switch lan"), "switch lan")
        back(m)
        shell.run("true")
        shell.poweroff()
        expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")
