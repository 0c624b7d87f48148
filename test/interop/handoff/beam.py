"""Messages with an attachment over UNIX sockets, as libchan frames them.

beam.py echo PATH     listens, and sends back each message with its attachment
"""

import array
import socket
import struct
import sys


class Messages:
    def __init__(self, sock):
        self.sock, self.fds = sock, []

    def read(self, n):
        data = b""
        while len(data) < n:
            part, ancillary, _, _ = self.sock.recvmsg(n - len(data), socket.CMSG_SPACE(4))
            for level, kind, rights in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                self.fds += struct.unpack("=i", rights[:4])
            if not part:
                return None if not data else sys.exit("end within a message")
            data += part
        return data

    def receive(self):
        header = self.read(4)
        if header is None:
            return None
        word, = struct.unpack("!I", header)
        data = self.read(word & 0x7fffffff)
        return data, self.fds.pop(0) if word & 0x80000000 else None

    def send(self, data, fd):
        header = struct.pack("!I", len(data) | (0 if fd is None else 0x80000000))
        if fd is None:
            self.sock.sendall(header[:1])
        else:
            self.sock.sendmsg([header[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        self.sock.sendall(header[1:])
        self.sock.sendall(data)


def echo(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        with listener.accept()[0] as sock:
            messages = Messages(sock)
            while (message := messages.receive()) is not None:
                messages.send(*message)
                if message[1] is not None:
                    socket.close(message[1])


{"echo": echo}[sys.argv[1]](sys.argv[2])
print("done", flush=True)
