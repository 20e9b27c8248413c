"""Attacks on fobd's connections: connect and leave, send garbage, send without reading, stay silent.

An attack is a function of a connected socket, plain or TLS. It closes the socket and returns None, or returns for how
many seconds the caller leaves the socket open before it closes it.
"""

import random
import socket
import ssl
import struct

import fobwire


def rst(s):
    """Close with a reset. (On a unix socket the peer sees a reset only if data is unread.)"""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def say(data, end=socket.socket.close, read=0):
    """Send ${data}, read at most ${read} bytes, then ${end} the connection."""
    def attack(s):
        try:
            if data:
                s.sendall(data)
            if read:
                s.recv(read)
            end(s)
        except OSError:
            s.close()
    return attack


def ways(url, request):
    """Attacks that connect and leave. Most do not wait for the server's greeting."""
    ids = struct.pack(">I", 0x80000001)
    framed = fobwire.frame(url, ids + request)
    hello = fobwire.HANDSHAKE
    ipc = b"\x01" if url.startswith("ipc") else b""

    def half(s):
        """Shut down the sending side only, and perhaps read a little, before closing."""
        s.shutdown(socket.SHUT_WR)
        if random.random() < 0.5:
            s.recv(64)
        random.choice((socket.socket.close, rst))(s)

    told = []
    for end in (socket.socket.close, rst, half):
        told += [
            say(b"", end), say(b"", end, 8), say(hello[:3], end), say(hello[:7], end, 8), say(hello, end),
            say(hello, end, 8),
            say(b"GET / HTTP/1.1\r\n\r\n", end), say(b"\x16\x03\x01\x02\x00\x01", end), say(b"\xff" * 64, end),
            say(bytes.fromhex("0053500000100000"), end, 8),                      # the greeting of another protocol (pair)
            say(bytes.fromhex("0053500100300000"), end), say(bytes.fromhex("0053500000310000"), end, 8),
            say(hello + ipc + b"\xff" * 8, end), say(hello + ipc + struct.pack(">Q", 8 << 30) + b"x", end, 8),
            say(hello + ipc + struct.pack(">Q", 65536 + 5), end), say(hello + ipc + struct.pack(">Q", 0), end),
            say(hello + ipc + struct.pack(">Q", 3) + b"abc", end, 8),
            say(hello + ipc + struct.pack(">Q", 100) + b"part", end),
            say(hello + b"\x02" + struct.pack(">Q", 20) + b"x" * 20, end),
            say(hello + fobwire.frame(url, b"\0" * 64), end),
            say(hello + fobwire.frame(url, b"\0\0\0\1" * 12 + ids), end),
            say(hello + framed[:-1], end), say(hello + framed, end), say(hello + framed, end, 8),
            say(hello + framed, end, 64),
            say(hello + framed * 16, end), say(hello + framed * 16, end, 8), say(hello + fobwire.frame(url, ids), end),
        ]
    return told


def flood(url, request, count=400):
    """Send many requests and read no reply."""
    def attack(s):
        s.setblocking(False)
        data = fobwire.HANDSHAKE + fobwire.frame(url, struct.pack(">I", 0x80000001) + request) * count
        try:
            while data:
                data = data[s.send(data):]
        except OSError:  # the buffers are full, or fobd has closed the connection: either is fine
            pass
        return 0.5
    return attack


def slow_reader(url, request):
    """Send some requests, and read a few bytes of the replies at a time."""
    def attack(s):
        try:
            s.sendall(fobwire.HANDSHAKE + fobwire.frame(url, struct.pack(">I", 0x80000001) + request) * 32)
            for _ in range(3):
                s.recv(3)
        except OSError:
            pass
        return random.random() * 0.3
    return attack


def silence(seconds):
    return lambda _s: seconds


def burdens(url, request):
    return [flood(url, request), slow_reader(url, request), slow_reader(url, request), silence(0.2)]


def client_hello(context):
    """The first bytes of a handshake, and the objects to go on with: (bytes, SSLObject, incoming, outgoing)."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="server")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read(), tls, incoming, outgoing


def before_tls(context):
    """Attacks over TCP that send something else than a TLS handshake, or only a part of one."""
    hello = client_hello(context)[0]

    def cut_off(s):
        """A handshake that ends somewhere in the client's second flight."""
        data, tls, incoming, outgoing = client_hello(context)
        try:
            s.sendall(data)
            while not outgoing.pending:
                got = s.recv(16384)
                if not got:
                    break
                incoming.write(got)
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    pass
            data = outgoing.read()
            s.sendall(data[:random.randrange(len(data) + 1)])
        except OSError:
            pass
        random.choice((socket.socket.close, rst))(s)

    def changed(s):
        data = bytearray(hello)
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        say(bytes(data), random.choice((socket.socket.close, rst)), random.choice((0, 512)))(s)

    def part(s):
        say(hello[:random.randrange(len(hello))], random.choice((socket.socket.close, rst)))(s)

    return [
        say(b""), say(b"", rst), say(fobwire.HANDSHAKE), say(fobwire.HANDSHAKE, rst, 64), say(b"\xff" * 64, read=64),
        say(b"GET / HTTP/1.1\r\n\r\n", read=64), say(b"\x16\x03\x01\xff\xff" + b"\x01" * 200),
        say(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + b"\x5a" * 60, rst), say(b"\x15\x03\x03\x00\x02\x02\x28"),
        say(b"\x17\x03\x03\x00\x10" + b"\0" * 16, read=64), say(hello), say(hello, read=64),
        say(hello * 3, read=64), cut_off, cut_off, changed, changed, part, part, silence(0.3),
    ]
