#!/usr/bin/env python3
"""sidecar-cat on a terminal: marks, colours, the line of state, and what is never shown in a pipe."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from peers import PATIENCE, PROGRAM, WebSocketPeer, echo, run, says


class Terminal:
    """The program with all three streams on a terminal of its own."""

    def __init__(self, *arguments, rows=24, columns=80, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        without = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.shown = b""
        self.program = subprocess.Popen([PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                        env={**without, "TERM": "xterm", **environment})
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
    def test_what_is_received_is_marked_in_colour_and_cannot_command_the_terminal(self):
        with WebSocketPeer(says("a\x1b[2Jb")) as peer, Terminal("--count", "1", peer.url) as terminal:
            self.assertEqual(terminal.end(), 0)
            self.assertIn(b"\x1b[32m< \x1b[0ma\\x1b[2Jb\r\n", terminal.shown)

    def test_no_color_and_a_dumb_terminal_have_none(self):
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with WebSocketPeer(says("x")) as peer, Terminal("--count", "1", peer.url, **environment) as terminal:
                self.assertEqual(terminal.end(), 0)
                self.assertIn(b"< x\r\n", terminal.shown)
                self.assertNotIn(b"\x1b[32m", terminal.shown)

    def test_typed_lines_are_sent_and_not_shown_twice(self):
        with WebSocketPeer(echo) as peer, Terminal("--count", "1", peer.url) as terminal:
            terminal.read_until(b"connected")
            terminal.type(b"hello\n")
            self.assertEqual(terminal.end(), 0)
            self.assertIn(b"< \x1b[0mhello\r\n", terminal.shown)
            self.assertNotIn(b"> ", terminal.shown)

    def test_echo_shows_what_it_sends(self):
        async def serve(ws):
            await ws.send("x")
            await ws.recv()
            await ws.close()
        with WebSocketPeer(serve) as peer, Terminal("--echo", peer.url) as terminal:
            self.assertEqual(terminal.end(), 0)
            self.assertIn(b"\x1b[33m> \x1b[0mx\r\n", terminal.shown)

    def test_ctrl_c_stops_politely_and_gives_the_last_line_back(self):
        with WebSocketPeer(says("x")) as peer:
            with Terminal(peer.url, rows=30) as terminal:
                terminal.read_until(b"connected   received")
                terminal.type(b"\x03")
                self.assertEqual(terminal.end(), 0)
                self.assertIn(b"\x1b[1;29r", terminal.shown)  # the region above the line of state
                self.assertIn(b"\x1b[r", terminal.shown)  # and its end
                self.assertGreater(terminal.shown.rindex(b"\x1b[r"), terminal.shown.rindex(b"connected"))
            self.assertEqual(peer.close_code(), 1000)

    def test_ctrl_d_ends_the_input_only(self):
        with WebSocketPeer(echo) as peer, Terminal(peer.url) as terminal:
            terminal.read_until(b"connected")
            terminal.type(b"\x04")
            terminal.type(b"\x03")
            self.assertEqual(terminal.end(), 0)

    def test_the_line_of_state_follows_the_size_of_the_terminal(self):
        with WebSocketPeer(echo) as peer, Terminal(peer.url, rows=24, columns=80) as terminal:
            terminal.read_until(b"\x1b[24;1H")
            fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 20, 0, 0))
            terminal.read_until(b"\x1b[40;1H\x1b[2K\x1b[7mconnected   received\x1b[0m")
            terminal.type(b"\x03")
            self.assertEqual(terminal.end(), 0)

    def test_a_terminal_without_a_size_has_the_usual_one(self):
        with WebSocketPeer(echo) as peer, Terminal(peer.url, rows=0, columns=0) as terminal:
            terminal.read_until(b"\x1b[24;1H\x1b[2K\x1b[7mconnected")
            terminal.type(b"\x03")
            self.assertEqual(terminal.end(), 0)

    def test_quiet_has_no_line_of_state(self):
        with WebSocketPeer(says("x")) as peer, Terminal("--quiet", "--count", "1", peer.url) as terminal:
            self.assertEqual(terminal.end(), 0)
            self.assertNotIn(b"connected", terminal.shown)

    def test_in_a_pipe_there_is_neither_mark_nor_colour_nor_state(self):
        with WebSocketPeer(says("x")) as peer:
            self.assertEqual(run("--count", "1", peer.url), (0, b"x\n", b""))

    def test_a_lost_link_gives_the_last_line_back_before_it_is_told(self):
        async def leave(ws):
            await ws.close(4001, "leaving")
        with WebSocketPeer(leave) as peer, Terminal(peer.url) as terminal:
            self.assertEqual(terminal.end(), 3)
            self.assertIn(b"leaving", terminal.shown)
            if b"\x1b[1;23r" in terminal.shown:  # it may be lost before there was a line
                self.assertGreater(terminal.shown.rindex(b"leaving"), terminal.shown.rindex(b"\x1b[r"))


if __name__ == "__main__":
    unittest.main()
