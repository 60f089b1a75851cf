"""The machine's own network cards: `mode = check` on each kind that there is an emulator of."""
import socket
import threading

from check import report
from harness import expect, expect_in, host, scenario

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


def check_card(lab, device, said):
    peer = Peer()
    report(lab, lab.image(host(mode="check", log="debug", check_net="yes")), kind="qemu", model="Nehalem,-vmx",
           extra=["-device", f"{device},netdev=wire,mac={CARD_MAC}", *peer.netdev()])
    text = lab.machines[-1].text()
    expect_in(rf"^corbel: network card net0 at 00:0\d\.0: {said}, {CARD_MAC}, link (up|down); with interrupts$", text)
    own = expect_in(r"^corbel: net0: as (169\.254\.\d+\.\d+): (\d+) frames heard, (\d+) sent, asked for 1 times$", text)
    expect(int(own[2]) >= 3 and int(own[3]) >= 3, own[0])
    expect_in(r"^corbel:   10\.9\.8\.7 is at 52:54:00:9a:bc:01, and answers$", text)
    expect_in(r"^corbel: net0: 0 bad frames, 0 overruns, 0 resets; [1-9]\d* interrupts$", text)
    mac, ip = bytes.fromhex(CARD_MAC.replace(":", "")), bytes(map(int, own[1].split(".")))
    answers = [f for f in peer.heard if f[:6] == PEER_MAC and f[20:22] == b"\0\2"]
    expect(len(answers) == 1 and answers[0][22:42] == mac + ip + PEER_MAC + PEER_IP and len(answers[0]) == 60 and
           not any(answers[0][42:]), f"the answer: {answers}")


@scenario(bound=60, slow=True)
def check_net_e1000(lab):
    """QEMU's 82540EM: INTx, by the line that firmware gave it."""
    check_card(lab, "e1000", "82540EM")


@scenario(bound=60, slow=True)
def check_net_e1000e(lab):
    """QEMU's 82574L: MSI."""
    check_card(lab, "e1000e", "82574L")


@scenario(bound=60, slow=True)
def check_net_none(lab):
    """A card that Corbel does not drive is named, and left alone."""
    report(lab, lab.image(host(mode="check", check_net="yes")), kind="qemu", model="Nehalem,-vmx", extra=["-device", "rtl8139"])
    expect_in(r"^corbel: network card at 00:0\d\.0: 10ec:8139, which Corbel does not drive$", lab.machines[-1].text())
