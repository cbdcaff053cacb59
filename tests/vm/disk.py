"""A disk with a volatile write cache, for power cuts: an NBD server for the emulator.

A write stays in the cache until a flush (or carries FUA). When the power goes, each block of the disk has any of the
contents that it was given since the last flush, or the one before all of them: what a real disk may do, at its worst.
"""

import os
import random
import socket
import struct
import threading

BLOCK = 4096
OPTION_MAGIC = 0x49484156454F5054
REPLY_MAGIC = 0x0003E889045565A9
EXPORT_NAME, ABORT, GO = 1, 2, 7
REP_ACK, REP_INFO, REP_ERR_UNSUP = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = range(4)
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
FUA = 1


class Gone(Exception):
    """The other side has closed."""


def receive(peer, length):
    data = bytearray()
    while len(data) < length:
        part = peer.recv(length - len(data))
        if not part:
            raise Gone
        data += part
    return bytes(data)


class Disk:
    """One disk over several boots. serve() for each boot, cut() after its end."""

    def __init__(self, path, size):
        self.size = size
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(self.file, size)
        self.cache = {}  # block -> its contents since the last flush, oldest first
        self.flushes = 0
        self.socket = str(path) + ".sock"

    def serve(self):
        """Waits for one emulator, in a thread of its own, and serves it until it is gone."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen(1)
        self.thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self.thread.start()

    def _serve(self, listener):
        with listener:
            peer, _ = listener.accept()
        try:
            with peer:
                if self._negotiate(peer):
                    while self._request(peer):
                        pass
        except (Gone, ConnectionError):
            pass

    def _negotiate(self, peer):
        peer.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 3))
        receive(peer, 4)
        flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
        while True:
            _, option, length = struct.unpack(">QII", receive(peer, 16))
            receive(peer, length)

            def reply(kind, data=b""):
                peer.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)

            if option == GO:
                reply(REP_INFO, struct.pack(">HQH", 0, self.size, flags))
                reply(REP_ACK)
                return True
            if option == EXPORT_NAME:
                peer.sendall(struct.pack(">QH", self.size, flags))
                return True
            if option == ABORT:
                reply(REP_ACK)
                return False
            reply(REP_ERR_UNSUP)

    def _request(self, peer):
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", receive(peer, 28))
        if kind == DISCONNECT:
            return False
        answer, error = b"", 0
        if kind == READ:
            answer = self.read(offset, length)
        elif kind == WRITE:
            self.write(offset, receive(peer, length), bool(flags & FUA))
        elif kind == FLUSH:
            self.flush()
        else:
            error = 22
        peer.sendall(struct.pack(">IIQ", 0x67446698, error, handle) + answer)
        return True

    def read(self, offset, length):
        data = bytearray(os.pread(self.file, length, offset))
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        for block in range(first, last + 1):
            versions = self.cache.get(block)
            if versions:
                begin = max(offset, block * BLOCK)
                end = min(offset + length, (block + 1) * BLOCK)
                data[begin - offset : end - offset] = versions[-1][begin - block * BLOCK : end - block * BLOCK]
        return bytes(data)

    def write(self, offset, data, durable):
        if offset % BLOCK or len(data) % BLOCK:  # the guest is told of blocks of this size; for the emulator's own
            begin, end = offset // BLOCK * BLOCK, -(-(offset + len(data)) // BLOCK) * BLOCK
            whole = bytearray(self.read(begin, end - begin))
            whole[offset - begin : offset - begin + len(data)] = data
            offset, data = begin, bytes(whole)
        if durable:
            os.pwrite(self.file, data, offset)
        for at in range(0, len(data), BLOCK):
            block = (offset + at) // BLOCK
            if durable:
                self.cache.pop(block, None)
            else:
                self.cache.setdefault(block, []).append(data[at : at + BLOCK])

    def flush(self):
        self.flushes += 1
        for block, versions in self.cache.items():
            os.pwrite(self.file, versions[-1], block * BLOCK)
        self.cache.clear()

    def cut(self):
        """What is left after the power was cut. Returns how many blocks were in the cache and how many are old now."""
        self.thread.join()
        dirty, old = len(self.cache), 0
        for block, versions in self.cache.items():
            survivor = random.randrange(len(versions) + 1)
            old += survivor < len(versions)
            if survivor:
                os.pwrite(self.file, versions[survivor - 1], block * BLOCK)
        self.cache.clear()
        return dirty, old

    def close(self):
        os.close(self.file)
        if os.path.exists(self.socket):
            os.unlink(self.socket)
