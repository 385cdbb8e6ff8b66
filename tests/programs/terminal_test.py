#!/usr/bin/env python3
"""sidecar-cat on a terminal: the mark of what is received, and what must not command the terminal."""
import fcntl
import os
import pty
import select
import subprocess
import termios
import time
import unittest

from peers import PATIENCE, PROGRAM, WebSocketPeer, echo, run, says


class Terminal:
    """The program with all three streams on a terminal of its own."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.shown = b""
        self.program = subprocess.Popen([PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self.master)

    def read_until(self, expected):
        deadline = time.monotonic() + PATIENCE
        while expected not in self.shown:
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{expected} is not shown: {self.shown}")
            self.shown += os.read(self.master, 65536)

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit status, with everything read that was shown."""
        status = self.program.wait(PATIENCE)
        while select.select([self.master], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:  # nobody has the other side any more
                break
        return status


class TerminalTest(unittest.TestCase):
    def test_what_is_received_is_marked_and_cannot_command_the_terminal(self):
        with WebSocketPeer(says("a\x1b[2Jb")) as peer, Terminal("--count", "1", peer.url) as terminal:
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(terminal.shown, b"< a\\x1b[2Jb\r\n")

    def test_typed_lines_are_sent(self):
        with WebSocketPeer(echo) as peer, Terminal("--count", "1", peer.url) as terminal:
            terminal.type(b"hello\n")
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(terminal.shown, b"hello\r\n< hello\r\n")  # as the terminal shows what is typed

    def test_ctrl_c_stops_politely(self):
        with WebSocketPeer(says("x")) as peer:
            with Terminal(peer.url) as terminal:
                terminal.read_until(b"< x")
                terminal.type(b"\x03")
                self.assertEqual(terminal.end(), 0)
            self.assertEqual(peer.close_code(), 1000)

    def test_ctrl_d_ends_the_input_only(self):
        with WebSocketPeer(echo) as peer, Terminal(peer.url) as terminal:
            terminal.type(b"hello\n")
            terminal.read_until(b"< hello")
            terminal.type(b"\x04")
            terminal.type(b"\x03")
            self.assertEqual(terminal.end(), 0)

    def test_in_a_pipe_there_is_no_mark(self):
        with WebSocketPeer(says("x")) as peer:
            self.assertEqual(run("--count", "1", peer.url), (0, b"x\n", b""))


if __name__ == "__main__":
    unittest.main()
