"""JSON documents with descriptors over UNIX sockets, as osbuild's jsoncomm has them.

jsoncomm.py datagram-server|datagram-client|packet-server|packet-client PATH

A server answers each document with itself and the descriptors that came with it, and ends at "stop". A client sends documents of many sizes, each with
some files, and checks the answers.
"""

import array
import json
import os
import socket
import sys
import tempfile

VIA_FD = b"<args-via-fd>"
INT = array.array("i").itemsize


def receive(sock):
    """Returns a document, its descriptors and the sender's address; None at the end."""
    size = 4096
    while True:
        data, _, flags, _ = sock.recvmsg(size, 0, socket.MSG_PEEK)
        if not flags & socket.MSG_TRUNC:
            break
        size *= 2
    if not data:
        return None, [], None
    data, ancillary, flags, sender = sock.recvmsg(size, socket.CMSG_LEN(253 * INT))
    fds = array.array("i")
    for level, kind, content in ancillary:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS), (level, kind)
        fds.frombytes(content)
    assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), flags
    fds = list(fds)
    if data == VIA_FD and sock.type == socket.SOCK_SEQPACKET:
        with open(fds.pop(0), "rb") as payload:
            data = payload.read()
    return json.loads(data), fds, sender


def send(sock, document, fds, to=None):
    data = json.dumps(document).encode()
    fds, memory = list(fds), None
    if sock.type == socket.SOCK_SEQPACKET:
        with open("/proc/sys/net/core/wmem_max") as limit:
            if len(data) > int(limit.read()):
                memory = os.memfd_create("jsoncomm/payload")
                with open(memory, "wb", closefd=False) as payload:
                    payload.write(data)
                os.lseek(memory, 0, os.SEEK_SET)
                data, fds = VIA_FD, [memory] + fds
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(data))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    assert sock.sendmsg([data], rights, 0, to) == len(data)
    if memory is not None:
        os.close(memory)


def serve(sock, answer_to_sender):
    while True:
        document, fds, sender = receive(sock)
        if document is None or document == "stop":
            return
        send(sock, document, fds, sender if answer_to_sender else None)
        for fd in fds:
            os.close(fd)


def ask(sock, sizes):
    for n, size in enumerate(sizes):
        files = []
        for i in range(n * 36 % 253 if n else 0):
            f = tempfile.TemporaryFile()
            f.write(b"file %d" % i)
            f.flush()
            files.append(f)
        document = {"n": n, "text": "\u00e9<&" + "x" * size, "deep": [[None, True, 1.5]]}
        send(sock, document, [f.fileno() for f in files])
        answer, fds, _ = receive(sock)
        assert answer == document, (n, size)
        assert len(fds) == len(files), (len(fds), len(files))
        for i, fd in enumerate(fds):
            assert os.pread(fd, 100, 0) == b"file %d" % i
            os.close(fd)
        for f in files:
            f.close()
    send(sock, "stop", [])


def main(role, path):
    short = [0, 1, 4000, 4096, 5000, 9000, 20000, 60000]
    if role == "datagram-server":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            print("ready", flush=True)
            serve(sock, True)
    elif role == "datagram-client":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("")
            sock.connect(path)
            ask(sock, short)
    elif role == "packet-server":
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen()
            print("ready", flush=True)
            with listener.accept()[0] as sock:
                serve(sock, False)
    elif role == "packet-client":
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.bind("")
            sock.connect(path)
            ask(sock, short + [300000, 2000000])
    else:
        sys.exit(__doc__)
    print("done", flush=True)


main(*sys.argv[1:])
