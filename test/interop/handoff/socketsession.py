"""Socket sessions between processes, as BIND 10 has them.

socketsession.py forward PATH     connects, and forwards three sessions: a TCP connection, and a datagram of IPv4 and of IPv6; the receiver answers on each socket
socketsession.py receive PATH     listens, and receives sessions; answers on each socket with what came as data
"""

import array
import socket
import struct
import sys

LIMIT = 2 + 6 * 4 + 2 * 128


def pack(address, family):
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", address[1]) + socket.inet_pton(family, address[0]) + bytes(8)
    host, port, flow, scope = address
    return struct.pack("=H", family) + struct.pack("!HI", port, flow) + socket.inet_pton(family, host) + struct.pack("=I", scope)


def unpack(image, family):
    assert struct.unpack("=H", image[:2])[0] == family
    port = struct.unpack("!H", image[2:4])[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(family, image[4:8]), port
    return socket.inet_ntop(family, image[8:24]), port, struct.unpack("!I", image[4:8])[0], struct.unpack("=I", image[24:28])[0]


def push(channel, sock, family, kind, protocol, local, remote, data):
    """The descriptor in a message of its own; then header and data in another."""
    channel.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])
    local, remote = pack(local, family), pack(remote, family)
    header = struct.pack("!III", family, kind, protocol)
    header += struct.pack("!I", len(local)) + local + struct.pack("!I", len(remote)) + remote + struct.pack("!I", len(data))
    whole = struct.pack("!H", len(header)) + header + data
    assert channel.sendmsg([whole]) == len(whole)


def read(channel, n):
    data = channel.recv(n, socket.MSG_WAITALL)
    assert len(data) == n, (len(data), n)
    return data


def pop(channel):
    """Returns a socket, its type, both endpoints and the data; None at the end."""
    one, ancillary, flags, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    if not one:
        return None
    (level, kind, rights), = ancillary
    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    fd, = struct.unpack("=i", rights[:4])
    length, = struct.unpack("!H", read(channel, 2))
    assert length <= LIMIT
    header = read(channel, length)
    family, kind, protocol, size = struct.unpack("!IIII", header[:16])
    assert family in (socket.AF_INET, socket.AF_INET6)
    local, header = header[16:16 + size], header[16 + size:]
    size, = struct.unpack("!I", header[:4])
    remote, header = header[4:4 + size], header[4 + size:]
    size, = struct.unpack("!I", header)
    assert 1 <= size <= 65535
    data = read(channel, size)
    return socket.socket(family, kind, protocol, fileno=fd), kind, unpack(local, family), unpack(remote, family), data


def forward(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(path)
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
            accepted, peer = listener.accept()
            client.sendall(b"hello, worker")
            start = accepted.recv(5)
            push(channel, accepted, socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, accepted.getsockname(), peer, start)
            accepted.close()
            assert client.recv(100) == b"answer to hello, worker"
        for family, host, size in (socket.AF_INET, "127.0.0.1", 1), (socket.AF_INET6, "::1", 65535):
            with socket.socket(family, socket.SOCK_DGRAM) as service, socket.socket(family, socket.SOCK_DGRAM) as client:
                service.bind((host, 0))
                client.bind((host, 0))
                push(channel, service, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, service.getsockname(), client.getsockname(), b"q" * size)
                answer, sender = client.recvfrom(100)
                assert answer == b"answer to %d" % size, answer
                assert sender == service.getsockname()


def receive(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        with listener.accept()[0] as channel:
            while (session := pop(channel)) is not None:
                sock, kind, local, remote, data = session
                with sock:
                    assert sock.getsockname() == local, (sock.getsockname(), local)
                    answer = b"%d:" % len(data) + data[:10]
                    if kind == socket.SOCK_STREAM:
                        assert sock.getpeername() == remote, (sock.getpeername(), remote)
                        sock.sendall(answer)
                    else:
                        sock.sendto(answer, remote)


{"forward": forward, "receive": receive}[sys.argv[1]](sys.argv[2])
print("done", flush=True)
