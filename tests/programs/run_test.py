#!/usr/bin/env python3
"""sidecar-cat from end to end: what it prints, what it sends, and how it ends."""
import asyncio
import json
import os
import queue
import re
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import websockets

from peers import PATIENCE, Certificates, TcpPeer, TlsPeer, WebSocketPeer, accept_websocket, drain, echo, run, says, start


def lines_of(program, count):
    return [program.stdout.readline() for _ in range(count)]


async def close_normally(ws):
    await ws.close(1000, "done")


class Receiving(unittest.TestCase):
    def test_prints_each_message_on_a_line_and_ends_with_0_when_the_peer_says_goodbye(self):
        with WebSocketPeer(says("one", "zwei ü", "", then=close_normally)) as peer:
            self.assertEqual(run(peer.url), (0, "one\nzwei ü\n\n".encode(), b""))

    def test_stops_after_count_messages_and_closes_politely(self):
        with WebSocketPeer(says(*(str(i) for i in range(100)))) as peer:
            self.assertEqual(run("--count", "3", peer.url), (0, b"0\n1\n2\n", b""))
        self.assertEqual(peer.close_code(), 1000)

    def test_a_subject_of_a_nats_server_is_printed_and_lines_are_published(self):
        lines = []

        def serve(connection):
            connection.sendall(b'INFO {"headers":true}\r\n')
            for line in connection.makefile("rb"):
                lines.append(line)
                if line == b"PING\r\n":
                    connection.sendall(b"PONG\r\n")
                elif line == b"SUB prices.> 1\r\n":
                    connection.sendall(b"MSG prices.\x1b[2J 1 5\r\nhello\r\n")
        with TcpPeer(serve) as peer:
            url = peer.url.replace("tcp", "nats").rstrip("/")
            self.assertEqual(run("--count", "1", url + "/prices.>"), (0, b"prices.\\x1b[2J hello\n", b""))
            self.assertEqual(run("--close-on-eof", url + "/a", input=b"one\n"), (0, b"", b""))
        self.assertEqual(lines[-4:], [b"PUB a 3\r\n", b"one\r\n", b"UNSUB 1\r\n", b"PING\r\n"])

    def test_after_count_messages_it_is_the_peer_s_own_business_how_it_ends(self):
        def end(connection):
            connection.sendall(b"1\n2\n")

        def end_within_a_message(connection):
            connection.sendall(b"1\n2\n3")

        def close(connection, goodbye=b"\x88\x02\x03\xe9"):  # 1001
            accept_websocket(connection, b"\x81\x011\x81\x012" + goodbye)

        def cut(connection):
            close(connection, b"")
        for serve, scheme in ((end, "tcp"), (end_within_a_message, "tcp"), (close, "ws"), (cut, "ws")):
            with TcpPeer(serve) as peer:
                for more in ([], ["--reconnect"]):
                    for _ in range(5):
                        self.assertEqual(run("--count", "2", *more, peer.url.replace("tcp", scheme)),
                                         (0, b"1\n2\n", b""), serve.__name__)

    def test_binary_messages_are_hex_by_default_and_base64_or_raw_on_request(self):
        data = b"\x00\x01\xfe\xff"
        for arguments, expected in (([], b"0001feff\n"), (["--binary", "base64"], b"AAH+/w==\n"), (["--binary", "raw"], data + b"\n")):
            with WebSocketPeer(says(data)) as peer:
                self.assertEqual(run("--count", "1", *arguments, peer.url), (0, expected, b""), arguments)

    def test_timestamps_stand_before_each_message(self):
        with WebSocketPeer(says("x")) as peer:
            _, out, _ = run("--count", "1", "--timestamps", peer.url)
        self.assertRegex(out, rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z x\n$")

    def test_json_lines_tell_everything_and_escape_it(self):
        text = 'quote " backslash \\ tab \t nul \0 line \n ende ü \x7f'
        with WebSocketPeer(says(text, b"\xff\0", then=close_normally), subprotocols=["v2"]) as peer:
            status, out, err = run("--json", "--subprotocol", "v1,v2", peer.url)
        up, first, second, down, report = (json.loads(line) for line in out.splitlines())
        self.assertEqual((status, err), (0, b""))
        self.assertEqual((up["event"], up["protocol"]), ("up", "v2"))
        self.assertEqual((first["kind"], first["text"], first["size"]), ("text", text, len(text.encode())))
        self.assertEqual((second["kind"], second["hex"]), ("binary", "ff00"))
        self.assertEqual((down["event"], down["close_code"], down["close_reason"]), ("down", 1000, "done"))
        self.assertEqual((report["event"], report["status"], report["messages_received"]), ("report", 0, 2))

    def test_json_shows_bytes_that_are_no_text_as_base64(self):
        with TcpPeer(lambda c: (c.sendall(b"good\n\xff\xfe\n"), drain(c))) as peer:
            _, out, _ = run("--json", "--count", "2", peer.url)
        messages = [json.loads(line) for line in out.splitlines()][1:3]
        self.assertEqual([m.get("text") for m in messages], ["good", None])
        self.assertEqual(messages[1]["base64"], "//4=")

    def test_the_handshake_carries_what_was_asked_for(self):
        with WebSocketPeer(says("x"), origins=["http://example.org"]) as peer:
            status, _, err = run("--count", "1", "--header", "X-A: 1", "-H", "X-A:2", "--header", "Origin: http://example.org",
                                 "--auth", "user:pass", peer.url)
            self.assertEqual((status, err), (0, b""))
            headers = peer.requests[0][1]
        self.assertEqual(headers.get_all("X-A"), ["1", "2"])
        self.assertEqual(headers["Authorization"], "Basic dXNlcjpwYXNz")

    def test_compression_is_offered_on_request(self):
        for arguments, expected in ((["--compress"], 1), ([], 0)):
            with WebSocketPeer(says("x" * 10000)) as peer:
                self.assertEqual(run("--count", "1", *arguments, peer.url), (0, b"x" * 10000 + b"\n", b""))
                self.assertEqual(len(peer.requests[0][1].get_all("Sec-WebSocket-Extensions")), expected)
                self.assertEqual(len(peer.extensions[0]), expected)

    def test_secrets_come_from_a_file_or_the_environment(self):
        with tempfile.NamedTemporaryFile("w") as file, WebSocketPeer(says("x")) as peer:
            file.write("bearer:abc\n")
            file.flush()
            self.assertEqual(run("--count", "1", "--auth", "@" + file.name, peer.url)[0], 0)
            environment = {**os.environ, "WHO": "a:b"}
            self.assertEqual(run("--count", "1", "--auth", "env:WHO", peer.url, env=environment)[0], 0)
            self.assertEqual([r[1]["Authorization"] for r in peer.requests], ["Bearer abc", "Basic YTpi"])

    def test_stats_and_report_go_to_stderr_at_the_end(self):
        with WebSocketPeer(says("x")) as peer:
            status, out, err = run("--count", "1", "--stats", peer.url)
        self.assertEqual((status, out), (0, b"x\n"))
        self.assertIn(b"received", err)
        self.assertIn(b"close", err)


class Sending(unittest.TestCase):
    def received_by_peer(self, input, *arguments):
        got = []

        async def serve(ws):
            async for message in ws:
                got.append(message)
        with WebSocketPeer(serve) as peer:
            status, out, err = run("--close-on-eof", *arguments, peer.url, input=input)
        return got, status, err

    def test_each_line_is_a_message_and_the_last_needs_no_end(self):
        self.assertEqual(self.received_by_peer(b"one\n\ntwo\nlast"), (["one", "", "two", "last"], 0, b""))

    def test_binary_modes_send_binary_messages(self):
        self.assertEqual(self.received_by_peer(b"00ff\n", "--binary", "hex")[0], [b"\0\xff"])
        self.assertEqual(self.received_by_peer(b"\0\xff\n", "--binary", "raw")[0], [b"\0\xff"])

    def test_nul_bytes_are_text_like_any_other(self):
        self.assertEqual(self.received_by_peer(b"a\0b\n")[0], ["a\0b"])

    def test_a_line_that_is_no_utf8_is_refused_and_the_next_one_is_sent(self):
        got, status, err = self.received_by_peer(b"caf\xe9\ngood\n")
        self.assertEqual((got, status), (["good"], 0))
        self.assertIn(b"line 1 is not sent: ", err)
        self.assertIn(b"UTF-8", err)

    def test_a_line_that_is_no_hex_is_refused_with_its_number(self):
        got, status, err = self.received_by_peer(b"00\nxyz\n01\n", "--binary", "hex")
        self.assertEqual((got, status), ([b"\0", b"\1"], 0))
        self.assertIn(b"line 2 is not sent", err)

    def test_a_line_above_the_limit_is_refused_at_little_memory_and_the_next_one_is_sent(self):
        got, status, err = self.received_by_peer(b"x" * 3_000_000 + b"\nok\n", "--max-message", "1k")
        self.assertEqual((got, status), (["ok"], 0))
        self.assertIn(b"3000000 bytes", err)

    def test_all_of_a_long_input_arrives_although_the_outbox_is_small_against_it(self):
        line = b"y" * 999_999
        got, status, _ = self.received_by_peer((line + b"\n") * 30)
        self.assertEqual((status, [len(m) for m in got]), (0, [999_999] * 30))

    def test_an_echo_of_more_than_all_queues_hold_comes_back_while_the_input_goes_on(self):
        line = b"z" * 999_999 + b"\n"
        with WebSocketPeer(echo, compression=None) as peer:
            status, out, err = run("--count", "80", peer.url, input=line * 80)
        self.assertEqual((status, err), (0, b""))
        self.assertTrue(out == line * 80)

    def test_a_reader_that_takes_nothing_does_not_delay_the_input(self):
        got = []
        arrived = threading.Event()

        async def talk(ws):
            async def send():
                for _ in range(100):
                    await ws.send("x" * 100_000)
            sending = asyncio.create_task(send())
            async for message in ws:
                got.append(message)
                if message == "c":
                    arrived.set()
            await sending
        with WebSocketPeer(talk, compression=None) as peer:
            program = start("--count", "100", peer.url)
            time.sleep(0.2)  # the output's pipe fills meanwhile
            long = "y" * 900_000  # all together more than the queue and the system hold
            writer = threading.Thread(target=lambda: (program.stdin.write(f"{long}\n".encode() * 15 + b"c\n"), program.stdin.flush()))
            writer.start()
            self.assertTrue(arrived.wait(PATIENCE))
            writer.join()
            out = program.communicate(timeout=PATIENCE)[0]
        self.assertEqual((program.returncode, len(out)), (0, 100 * 100_001))
        self.assertEqual(got, [long] * 15 + ["c"])

    def test_the_input_s_end_ends_nothing_by_itself(self):
        async def late(ws):
            async for message in ws:
                await asyncio.sleep(0.3)
                await ws.send(message + " late")
        with WebSocketPeer(late) as peer:
            self.assertEqual(run("--count", "1", peer.url, input=b"answer"), (0, b"answer late\n", b""))



class Ending(unittest.TestCase):
    @unittest.skipIf("SANITIZED" in os.environ, "a sanitizer takes more address space")
    def test_no_memory_after_it_was_up_is_no_failed_connecting(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (440 << 20, 440 << 20))
        with WebSocketPeer(says("x", b"y" * (64 << 20)), compression=None) as peer:
            program = start("--max-message", "64M", peer.url, preexec_fn=limit)
            out, err = program.communicate(timeout=PATIENCE)
        self.assertEqual((program.returncode, out, err), (4, b"x\n", b"sidecar-cat: out of memory\n"))

    def test_nobody_listens(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            for url in (f"ws://127.0.0.1:{port}/", f"tcp://127.0.0.1:{port}"):
                status, out, err = run(url)
                self.assertEqual((status, out), (1, b""))
                self.assertIn(b"refused", err)
            self.assertEqual(run("--quiet", f"tcp://127.0.0.1:{port}"), (1, b"", b""))

    def test_a_name_that_does_not_exist(self):
        status, _, err = run("tcp://does-not-exist.invalid:1")
        self.assertEqual(status, 1)
        self.assertIn(b"does-not-exist.invalid", err)

    def test_the_handshake_is_refused(self):
        def refuse(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with TcpPeer(refuse) as peer:
            url = peer.url.replace("tcp", "ws")
            status, out, err = run("--json", "--auth", "user:secret", url + "/?token=secret")
        self.assertEqual(status, 1)
        self.assertIn(b"403", err)
        self.assertEqual(json.loads(out.splitlines()[0])["http_status"], 403)
        self.assertNotIn(b"secret", out + err)

    def test_a_peer_that_never_answers_costs_the_timeout(self):
        with TcpPeer(drain) as peer:
            began = time.monotonic()
            status, _, err = run("--timeout", "0.3", peer.url.replace("tcp", "ws"))
            self.assertEqual(status, 1)
            self.assertLess(time.monotonic() - began, 5)
            self.assertIn(b"time", err)

    def test_the_link_is_lost(self):
        def cut(connection):
            connection.sendall(b"last words\n")
        with TcpPeer(cut) as peer:
            status, out, err = run(peer.url)
        self.assertEqual((status, out), (3, b"last words\n"))
        self.assertNotEqual(err, b"")

    def test_a_goodbye_with_a_complaint_is_a_link_lost(self):
        async def complain(ws):
            await ws.close(4000, "go away")
        with WebSocketPeer(says("x", then=complain)) as peer:
            status, out, err = run(peer.url)
        self.assertEqual((status, out), (3, b"x\n"))
        self.assertIn(b"4000", err)
        self.assertIn(b"go away", err)

    def test_a_message_above_the_limit_ends_the_link(self):
        with WebSocketPeer(says("x" * 5000)) as peer:
            status, out, err = run("--max-message", "4k", peer.url)
        self.assertEqual((status, out), (3, b""))
        self.assertEqual(peer.close_code(), 1009)

    def test_signals_stop_politely(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with WebSocketPeer(says("x")) as peer:
                program = start(peer.url)
                self.assertEqual(lines_of(program, 1), [b"x\n"])
                program.send_signal(number)
                self.assertEqual(program.wait(PATIENCE), 0)
                self.assertEqual(program.communicate(), (b"", b""))
            self.assertEqual(peer.close_code(), 1000)

    def test_a_signal_ends_the_connecting(self):
        came = threading.Event()
        with TcpPeer(lambda c: (c.recv(1), came.set(), drain(c))) as peer:
            program = start(peer.url.replace("tcp", "ws"))
            self.assertTrue(came.wait(PATIENCE))
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.wait(PATIENCE), 1)
            program.communicate()

    def test_a_peer_that_never_says_goodbye_makes_the_stop_unclean(self):
        def mute(connection):
            accept_websocket(connection, b"\x81\x05hello")
            drain(connection)
            time.sleep(3)  # longer than a stop may take
        with TcpPeer(mute) as peer:
            status, out, err = run("--count", "1", peer.url.replace("tcp", "ws"))
        self.assertEqual((status, out), (4, b"hello\n"))
        self.assertIn(b"stopped uncleanly", err)

    def test_a_stream_s_peer_may_keep_its_side_open(self):
        got = []

        def mute(connection):
            connection.sendall(b"hello\n")
            got.append(drain(connection))
            time.sleep(3)  # longer than a stop may take
        for arguments in (["--count", "1"], ["--close-on-eof"]):
            with TcpPeer(mute) as peer:
                self.assertEqual(run(*arguments, peer.url, input=b"one\ntwo\n")[::2], (0, b""), arguments)
        self.assertEqual(got[1], b"one\ntwo\n")

    def test_a_stream_s_peer_that_reads_nothing_makes_the_stop_unclean(self):
        ended = threading.Event()

        def deaf(connection):
            connection.sendall(b"hello\n")
            ended.wait(PATIENCE)
        with TcpPeer(deaf) as peer:
            program = start(peer.url, stdin=subprocess.PIPE)
            self.assertEqual(lines_of(program, 1), [b"hello\n"])
            writer = threading.Thread(target=self.write_until_it_ends, args=(program.stdin, b"x" * 1023 + b"\n"))
            writer.start()
            time.sleep(0.5)  # its queue and the system's are full, or will be: all the same
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.wait(PATIENCE), 4)
            self.assertIn(b"stopped uncleanly", program.stderr.read())
            writer.join(PATIENCE)
            program.stdout.close()
            program.stderr.close()
            ended.set()

    @staticmethod
    def write_until_it_ends(pipe, line):
        try:
            for _ in range(1_000_000):
                pipe.write(line)
        except BrokenPipeError:
            pass
        try:
            pipe.close()
        except BrokenPipeError:
            pass

    def test_a_signal_that_comes_twice_at_once_is_one(self):
        with WebSocketPeer(says("x")) as peer:
            program = start(peer.url)
            self.assertEqual(lines_of(program, 1), [b"x\n"])
            program.send_signal(signal.SIGINT)
            time.sleep(0.01)  # or the system might merge them
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.wait(PATIENCE), 0)
            program.communicate()
            done = subprocess.run(["timeout", "-s", "INT", "0.5", os.environ["SIDECAR_CAT"], peer.url], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (124, b"x\n", b""))

    def ends_quietly_without_a_reader(self, program):
        program.stdout.close()
        self.assertEqual(program.wait(PATIENCE), 0)
        self.assertEqual(program.stderr.read(), b"")
        program.stdin.close()
        program.stderr.close()

    def test_a_reader_that_has_enough_ends_it_quietly(self):
        async def talk(ws):
            for i in range(10**9):
                await ws.send(f"message {i}")
        with WebSocketPeer(talk) as peer:
            program = start(peer.url)
            self.assertEqual(lines_of(program, 1), [b"message 0\n"])
            self.ends_quietly_without_a_reader(program)

    def test_a_reader_that_goes_while_nothing_comes_ends_it_too(self):
        with WebSocketPeer(says("only one")) as peer:
            program = start(peer.url)
            self.assertEqual(lines_of(program, 1), [b"only one\n"])
            program.stdout.close()
            self.assertEqual(program.wait(PATIENCE), 0)
            program.stdin.close()
            program.stderr.close()

    def test_a_reader_that_goes_while_it_connects_ends_it_too(self):
        came = threading.Event()
        with TcpPeer(lambda c: (c.recv(1), came.set(), drain(c))) as peer:
            program = start(peer.url.replace("tcp", "ws"))
            self.assertTrue(came.wait(PATIENCE))
            self.ends_quietly_without_a_reader(program)

    def test_a_reader_that_stands_still_makes_nothing_grow_and_delays_no_stop(self):
        sent = []

        async def talk(ws):
            for i in range(2000):
                await ws.send(b"x" * 100_000)
                sent.append(i)
        with WebSocketPeer(talk, compression=None) as peer:
            program = start(peer.url)
            before = -1
            while before != len(sent):  # until nothing moves any more
                before = len(sent)
                time.sleep(0.5)
            self.assertLess(len(sent), 2000)
            with open(f"/proc/{program.pid}/status") as status:
                resident = int(re.search(r"VmRSS:\s*(\d+) kB", status.read())[1])
            if "SANITIZED" not in os.environ:
                self.assertLess(resident, 80_000)
            program.send_signal(signal.SIGTERM)
            self.assertEqual(program.wait(PATIENCE), 4)
            self.assertIn(b"were not taken", program.communicate()[1])

    def test_a_reader_that_has_enough_of_json_lines_ends_it_quietly(self):
        async def talk(ws):
            for i in range(10**9):
                await ws.send(f"message {i}")
        with WebSocketPeer(talk) as peer:
            program = start("--json", peer.url)
            lines_of(program, 2)
            self.ends_quietly_without_a_reader(program)

    def test_nothing_depends_on_a_reader_of_the_complaints(self):
        with WebSocketPeer(says("x")) as peer, open("/dev/full", "wb") as full:
            bad_lines = b"\xff\n" * 3
            arguments = ("--count", "1", "--stats", peer.url)
            self.assertEqual(run(*arguments, input=bad_lines, stderr=full)[:2], (0, b"x\n"))
            program = start(*arguments)
            program.stderr.close()
            self.assertEqual(program.communicate(bad_lines, PATIENCE)[0], b"x\n")
            self.assertEqual(program.returncode, 0)
            self.assertEqual(run(*arguments, stdout=full, stderr=full)[0], 4)
        with open("/dev/full", "wb") as full:
            self.assertEqual(run("ws://127.0.0.1:1/", stderr=full)[0], 1)
            self.assertEqual(run("--nonsense", stderr=full)[0], 2)

    def test_help_needs_no_reader_but_tells_a_full_disk(self):
        program = start("--help")
        program.stdout.close()
        self.assertEqual(program.wait(PATIENCE), 0)
        self.assertEqual(program.stderr.read(), b"")
        program.stdin.close()
        program.stderr.close()
        with open("/dev/full", "wb") as full:
            status, _, err = run("--help", stdout=full)
        self.assertEqual(status, 4)
        self.assertIn(b"No space left", err)

    def test_control_characters_of_the_peer_reach_no_complaint(self):
        async def complain(ws):
            await ws.close(4000, "\x1b[31mred\nsecond line\x9b")
        with WebSocketPeer(says("x", then=complain)) as peer:
            status, _, err = run(peer.url)
        self.assertEqual(status, 3)
        self.assertEqual(len(err.splitlines()), 1)
        self.assertIn(rb"\x1b[31mred\x0asecond line", err)
        self.assertNotIn(b"\x1b", err)
        self.assertNotIn("\x9b".encode(), err)

    def test_input_that_cannot_be_read_is_reported(self):
        folder = os.open("/", os.O_RDONLY)
        with WebSocketPeer(says("x")) as peer:
            program = start(peer.url, stdin=folder)
            self.assertEqual(program.stderr.readline(), b"sidecar-cat: standard input cannot be read: Is a directory\n")
            self.assertEqual(program.stdout.readline(), b"x\n")
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=PATIENCE)
        os.close(folder)
        self.assertEqual((program.returncode, out, err), (0, b"", b""))

    def test_output_that_cannot_be_written_is_told(self):
        with WebSocketPeer(says("x")) as peer, open("/dev/full", "wb") as full:
            status, _, err = run(peer.url, stdout=full)
        self.assertEqual(status, 4)
        self.assertIn(b"No space left", err)

    def test_closed_descriptors_are_taken_for_dev_null(self):
        with WebSocketPeer(says("x")) as peer:
            command = f"exec {os.environ['SIDECAR_CAT']} --count 1 {peer.url} <&- >&- 2>&-"
            self.assertEqual(subprocess.run(["sh", "-c", command], timeout=PATIENCE).returncode, 0)



@unittest.skipIf("WITHOUT_TLS" in os.environ, "built without TLS")
class Secured(unittest.TestCase):
    def talk(self, *arguments, **server):
        def serve(connection):
            connection.sendall(b"hello\n")
            drain(connection)
        with TlsPeer(serve, **server) as peer:
            return run("--count", "1", *arguments, peer.url)

    def test_the_authority_is_a_file_or_a_directory(self):
        for authority in ("ca.pem", "hashed"):
            self.assertEqual(self.talk("--ca", Certificates.path(authority)), (0, b"hello\n", b""))

    def test_a_certificate_that_is_refused_at_a_reconnection_is_a_link_lost(self):
        with TlsPeer(lambda c: c.sendall(b"hello\n"), "valid", "expired") as peer:
            status, out, err = run("--reconnect", "--ca", Certificates.path("ca.pem"), peer.url)
        self.assertEqual((status, out), (3, b"hello\n"))
        self.assertIn(b"expired on 20", err)

    def test_what_is_not_trusted_is_not_connected_to(self):
        for arguments, certificate, expected in (
                ([], "valid", b"unknown issuer"),
                (["--ca", Certificates.path("ca.pem")], "expired", b"expired on 20"),
                (["--ca", Certificates.path("ca.pem")], "wrong", b'instead of "localhost"'),
        ):
            status, out, err = self.talk(*arguments, certificate=certificate)
            self.assertEqual((status, out), (1, b""))
            self.assertIn(expected, err)

    def test_a_file_that_cannot_be_used_is_a_mistake_of_usage(self):
        authority = ["--ca", Certificates.path("ca.pem")]
        for arguments in (["--ca", "/nowhere"], ["--ca", Certificates.path("ca.key")], [*authority, "--cert", "/nowhere"],
                          [*authority, "--cert", Certificates.path("client.pem"), "--key", Certificates.path("valid.key")]):
            status, out, err = self.talk(*arguments)
            self.assertEqual((status, out), (2, b""), arguments)
            self.assertIn(b"cannot prepare TLS", err)

    def test_an_openssl_that_cannot_start_is_an_error_and_no_abort(self):
        for settings in ("providers = b\n[b]\nlegacy = c\n[c]\nactivate = 1\n", "providers = b\n[b]\nbase = c\n[c]\nactivate = 1\n",
                         "alg_section = b\n[b]\ndefault_properties = fips=yes\n"):
            with self.subTest(settings), tempfile.NamedTemporaryFile("w") as file:
                file.write("openssl_conf = a\n[a]\n" + settings)
                file.flush()
                status, out, err = run("wss://127.0.0.1:1/", env={**os.environ, "OPENSSL_CONF": file.name})
                self.assertEqual((status, out), (1, b""))
                self.assertIn(b"cannot prepare TLS (wss://127.0.0.1:1/): the connection could not be secured: OpenSSL", err)
                self.assertEqual(len(err.splitlines()), 1)

    def test_insecure_takes_everybody_and_warns(self):
        status, out, err = self.talk("--insecure", certificate="expired")
        self.assertEqual((status, out), (0, b"hello\n"))
        self.assertIn(b"warning", err)
        self.assertIn(b"not verified", err)

    def test_a_client_certificate_is_shown(self):
        arguments = ("--ca", Certificates.path("ca.pem"), "--cert", Certificates.path("client.pem"), "--key",
                     Certificates.path("client.key"))
        self.assertEqual(self.talk(*arguments, demands_client=True), (0, b"hello\n", b""))

    def test_a_client_certificate_that_is_missing_or_refused_is_no_connection_with_any_version(self):
        authority = ("--ca", Certificates.path("ca.pem"))
        strange = ("--cert", Certificates.path("unknown.pem"), "--key", Certificates.path("unknown.key"))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for arguments in (authority, authority + strange):
                status, out, err = self.talk(*arguments, demands_client=True, highest=version)
                self.assertEqual((status, out), (1, b""), (version, arguments))
                self.assertIn(b"the peer refused the handshake with the alert", err)


@unittest.skipUnless("WITHOUT_TLS" in os.environ, "built with TLS")
class WithoutTls(unittest.TestCase):
    def test_what_asks_for_it_is_a_mistake_of_usage(self):
        for arguments in (["tls://127.0.0.1:1"], ["--insecure", "wss://127.0.0.1:1/"], ["--proxy", "https://p:1", "ws://h/"]):
            status, out, err = run(*arguments)
            self.assertEqual((status, out), (2, b""))
            self.assertIn(b"built without TLS", err)


class Reconnecting(unittest.TestCase):
    def test_what_comes_before_and_after_a_loss_is_printed_and_the_loss_is_told(self):
        connections = []

        def serve(connection):
            connections.append(1)
            connection.sendall(b"from connection %d\n" % len(connections))
            if len(connections) == 3:
                drain(connection)
        with TcpPeer(serve) as peer:
            status, out, err = run("--reconnect", "--count", "3", peer.url)
        self.assertEqual((status, out), (0, b"from connection 1\nfrom connection 2\nfrom connection 3\n"))
        self.assertEqual(err.count(b"tried again"), 2)

    def test_lines_wait_for_the_next_connection(self):
        got = []
        lost, back = threading.Event(), threading.Event()

        def serve(connection):
            if not lost.is_set():
                lost.set()
                return
            back.wait(PATIENCE)
            connection.sendall(b"welcome\n")
            got.append(drain(connection))
        with TcpPeer(serve) as peer:
            program = start("--reconnect", "--close-on-eof", peer.url)
            self.assertTrue(lost.wait(PATIENCE))
            self.assertIn(b"tried again", program.stderr.readline())
            program.stdin.write(b"one\ntwo\n")
            program.stdin.close()
            back.set()
            self.assertEqual(program.wait(PATIENCE), 0)
            program.stdout.close()
            program.stderr.close()
        self.assertEqual(got, [b"one\ntwo\n"])

    def test_json_tells_each_up_and_down_in_its_place(self):
        count = []

        async def serve(ws):
            count.append(1)
            await ws.send(f"m{len(count)}")
            if len(count) == 1:
                ws.transport.abort()
            await ws.wait_closed()
        with WebSocketPeer(serve) as peer:
            status, out, _ = run("--reconnect", "--json", "--count", "2", peer.url)
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(status, 0)
        self.assertEqual([e.get("text", e["event"]) for e in events], ["up", "m1", "down", "up", "m2", "report"])

    def test_a_refusal_that_no_time_heals_ends_it(self):
        first = threading.Event()

        def serve(connection):
            if first.is_set():
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            first.set()
            accept_websocket(connection, b"\x81\x02hi")
        with TcpPeer(serve) as peer:
            status, out, err = run("--reconnect", peer.url.replace("tcp", "ws"))
        self.assertEqual((status, out), (3, b"hi\n"))
        self.assertIn(b"403", err)

    def test_a_signal_ends_the_waiting(self):
        with TcpPeer(lambda c: c.sendall(b"x\n")) as peer:
            program = start("--reconnect", peer.url)
            lines_of(program, 1)
            self.assertIn(b"tried again", program.stderr.readline())
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.wait(PATIENCE), 0)
            program.communicate()

    def test_the_first_connection_is_waited_for_too(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            program = start("--reconnect", "--close-on-eof", "127.0.0.1", str(port))
            self.assertIn(b"refused", program.stderr.readline())
            program.stdin.write(b"from the beginning\n")
            program.stdin.close()
            listener.listen()
            listener.settimeout(PATIENCE)
            connection, _ = listener.accept()
            with connection:
                self.assertEqual(drain(connection), b"from the beginning\n")
            self.assertEqual(program.wait(PATIENCE), 0)
            program.stdout.close()
            program.stderr.close()

    def test_an_attempt_has_the_timeout(self):
        with TcpPeer(drain) as peer:
            program = start("--reconnect", "--timeout", "0.2", peer.url.replace("tcp", "ws"))
            for _ in range(2):
                self.assertIn(b"tried again", program.stderr.readline())
            program.send_signal(signal.SIGINT)
            self.assertEqual(program.wait(PATIENCE), 1)
            self.assertIn(b"stopped before the link was up", program.communicate()[1])

    def test_a_refusal_that_no_time_heals_ends_the_first_attempt(self):
        def refuse(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with TcpPeer(refuse) as peer:
            status, out, err = run("--reconnect", peer.url.replace("tcp", "ws"))
        self.assertEqual((status, out), (1, b""))
        self.assertIn(b"403", err)


class Heartbeat(unittest.TestCase):
    def test_a_peer_that_says_nothing_any_more_is_a_link_lost(self):
        def serve(connection):
            accept_websocket(connection)
            drain(connection)  # reads, and answers nothing
        with TcpPeer(serve) as peer:
            began = time.monotonic()
            status, out, err = run("--ping-interval", "0.3", peer.url.replace("tcp", "ws"))
        self.assertEqual((status, out), (3, b""), err)
        self.assertGreater(time.monotonic() - began, 0.5)
        self.assertNotEqual(err, b"")

    def test_a_peer_that_answers_pings_is_kept(self):
        async def late(ws):
            await asyncio.sleep(1)
            await ws.send("late")
            await ws.wait_closed()
        with WebSocketPeer(late) as peer:
            self.assertEqual(run("--ping-interval", "0.1", "--count", "1", peer.url), (0, b"late\n", b""))


class Verbose(unittest.TestCase):
    def test_events_of_the_link_are_printed_on_stderr(self):
        with WebSocketPeer(says("x")) as peer:
            status, out, err = run("--verbose", "--count", "1", peer.url)
        self.assertEqual((status, out), (0, b"x\n"))
        self.assertIn(b"sidecar-cat: up (link 0, connection 1)\n", err)


class Recording(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "run.sidecar")

    def record(self, *texts, arguments=()):
        with WebSocketPeer(says(*texts, then=close_normally), subprotocols=["v2"]) as peer:
            return run("--record", self.file, *arguments, peer.url + "?token=secret")

    def content(self):
        with open(self.file, "rb") as file:
            return file.read()

    def test_what_is_recorded_is_printed_again(self):
        data = b"\x00\xff"
        recorded = self.record("one", "zwei ü", "", data)
        self.assertEqual(recorded, (0, "one\nzwei ü\n\n00ff\n".encode(), b""))
        for speed in ([], ["--speed", "0"], ["--speed", "10"]):
            status, out, err = run(*speed, self.file)
            self.assertEqual((status, out), recorded[:2])
            self.assertIn(b"close code 1000", err)

    def test_both_directions_and_the_subprotocol_are_recorded(self):
        with WebSocketPeer(echo, subprotocols=["v2"]) as peer:
            status, out, _ = run("--record", self.file, "--subprotocol", "v2", "--count", "2", peer.url, input=b"a\nb\n")
        self.assertEqual((status, out), (0, b"a\nb\n"))
        status, out, _ = run("--speed", "0", "--json", self.file, input=b"is discarded\n")
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(status, 0)
        self.assertEqual((events[0]["event"], events[0]["protocol"], events[0]["endpoint"]), ("up", "v2", self.file))
        self.assertEqual([event["text"] for event in events if event["event"] == "message"], ["a", "b"])

    def test_no_secret_of_the_handshake_is_in_the_file(self):
        self.record("one", arguments=("--bearer", "secret", "-H", "X-Key: secret"))
        self.assertIn(b"one", self.content())
        self.assertNotIn(b"secret", self.content())
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)

    def test_a_stream_s_lines_and_its_end_without_a_close(self):
        with TcpPeer(lambda c: c.sendall(b"1\n2\n")) as peer:
            status, out, err = run("--record", self.file, peer.url)
        self.assertEqual((status, out), (3, b"1\n2\n"))
        played = run("--speed", "0", self.file)
        self.assertEqual(played, (0, out, err))  # played as a whole, whatever the end was

    def test_all_connections_and_refused_attempts_are_played(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        program = start("--record", self.file, "--reconnect", f"tcp://127.0.0.1:{port}")
        self.assertIn(b"refused", program.stderr.readline())
        with socket.create_server(("127.0.0.1", port)) as listener:
            for text in (b"first\n", b"second\n"):
                connection, _ = listener.accept()
                connection.sendall(text)
                self.assertEqual(program.stdout.readline(), text)
                connection.close()
            connection, _ = listener.accept()
            program.send_signal(signal.SIGINT)
            connection.close()
            program.communicate(timeout=PATIENCE)
        status, out, err = run("--speed", "0", self.file)
        self.assertEqual((status, out), (0, b"first\nsecond\n"))
        self.assertIn(b"refused", err)
        self.assertNotIn(b"tried again", err)

    def test_a_killed_program_leaves_what_was_recorded_a_second_before(self):
        with TcpPeer(lambda c: (c.sendall(b"1\n2\n"), drain(c))) as peer:
            program = start("--record", self.file, peer.url)
            self.assertEqual(lines_of(program, 2), [b"1\n", b"2\n"])
            until = time.monotonic() + PATIENCE
            while not self.content() and time.monotonic() < until:
                time.sleep(0.05)
            program.kill()
            program.communicate()
        status, out, _ = run("--speed", "0", self.file)
        self.assertEqual((status, out), (0, b"1\n2\n"))

    def test_a_truncated_file_is_printed_to_there_then_comes_the_offset(self):
        self.record("one", "two")
        whole = self.content()
        second = os.path.join(self.folder.name, "second.sidecar")
        # Behind the whole recording, the beginning of a block
        with open(second, "wb") as file:
            file.write(whole + b"SBLK" + bytes(10))
        status, out, err = run("--speed", "0", second)
        self.assertEqual((status, out), (3, b"one\ntwo\n"))
        self.assertIn(f"the file is truncated at offset {len(whole)}".encode(), err)

    def test_files_that_are_no_recording_are_mistakes_of_usage(self):
        def error_of(content):
            with open(self.file, "wb") as file:
                file.write(content)
            status, out, err = run(self.file)
            self.assertEqual((status, out), (2, b""))
            self.assertIn(self.file.encode(), err)
            return err
        status, _, err = run(self.file)
        self.assertEqual(status, 2)
        self.assertIn(b"No such file", err)
        self.assertIn(b"it is empty", error_of(b""))
        self.assertIn(b"no recording", error_of(b"a text that is long enough"))
        newer = b"\x89SIDECAR" + (2).to_bytes(4, "little")
        crc = 0xffffffff
        for byte in newer:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        self.assertIn(b"version 2", error_of(newer + (crc ^ 0xffffffff).to_bytes(4, "little")))

    def test_a_file_that_exists_is_replaced_on_request_only(self):
        with open(self.file, "wb") as file:
            file.write(b"needed")
        status, out, err = self.record("one")
        self.assertEqual((status, out), (2, b""))
        self.assertIn(b"exists; --force replaces it", err)
        self.assertEqual(self.content(), b"needed")
        self.assertEqual(self.record("one", arguments=("--force",))[0], 0)
        self.assertEqual(run("--speed", "0", self.file)[1], b"one\n")

    def test_a_file_that_cannot_be_made_is_a_mistake_of_usage(self):
        self.file = "/nowhere/run.sidecar"
        status, out, err = self.record("one")
        self.assertEqual((status, out), (2, b""))
        self.assertIn(b"No such file", err)

    def test_where_the_disk_is_full_the_messages_are_printed_and_the_status_is_4(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with WebSocketPeer(says(*(["x" * 1000] * 100), then=close_normally)) as peer:
            status, out, err = run("--record", self.file, peer.url, preexec_fn=limit)
        self.assertEqual((status, out), (4, (b"x" * 1000 + b"\n") * 100))
        self.assertIn(b"the recording ends, the link goes on", err)
        self.assertRegex(err, rb"\d+ entries are missing in the recording")


class Server:
    """sidecar-cat that listens; `.where` is what it prints about that."""

    def __init__(self, *arguments):
        self.program = start(*arguments)
        self.where = re.fullmatch(r"sidecar-cat: listening on (\S+)\n", self.program.stderr.readline().decode())[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.kill()
        self.program.wait()
        for pipe in (self.program.stdin, self.program.stdout, self.program.stderr):
            pipe.close()

    def type(self, line):
        self.program.stdin.write(line)
        self.program.stdin.flush()

    def end(self):
        """Interrupts it; what it still printed."""
        self.program.send_signal(signal.SIGINT)
        return self.result()

    def result(self):
        out, err = self.program.communicate(timeout=PATIENCE)
        return self.program.returncode, out, err

    def socket(self):
        """A client of lines in a stream."""
        address = self.where.split("//")[-1]
        if self.where.startswith("unix:"):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.where[len("unix:"):])
        else:
            client = socket.create_connection(address.rsplit(":", 1))
        client.settimeout(PATIENCE)
        return client


class Serving(unittest.TestCase):
    def browse(self, work, *urls, **options):
        """Runs `work` with WebSocket clients of the URLs."""
        async def main():
            clients = [await websockets.connect(url, **options) for url in urls]
            try:
                return await asyncio.wait_for(work(*clients), PATIENCE)
            finally:
                for client in clients:
                    await client.close()
        return asyncio.run(main())

    def test_lines_go_to_all_clients_and_their_messages_come_with_a_number(self):
        with Server("--listen", "0") as server:
            self.assertRegex(server.where, r"^ws://127\.0\.0\.1:\d+$")

            async def work(first, second):
                await first.send("hello")
                self.assertEqual(server.program.stdout.readline(), b"1: hello\n")
                await second.send("there")
                self.assertEqual(server.program.stdout.readline(), b"2: there\n")
                server.type("one\nzwei ü\n".encode())
                for client in (first, second):
                    self.assertEqual([await client.recv(), await client.recv()], ["one", "zwei ü"])
                server.program.send_signal(signal.SIGINT)
                for client in (first, second):
                    await client.wait_closed()
                    self.assertEqual(client.close_code, 1001)
            self.browse(work, server.where, server.where)
            self.assertEqual(server.result(), (0, b"", b"")) # a second signal could meet a program without its guard

    def test_json_has_the_number_and_who_it_is(self):
        with Server("--listen", "0", "--json") as server:
            async def work(client):
                await client.send("hello")
                return client.local_address
            host, port = self.browse(work, server.where + "/a?b")
            events = [json.loads(line) for line in lines_of(server.program, 4)]
            status, out, _ = server.end()
            self.assertEqual([(e["event"], e["link"]) for e in events], [("up", 0), ("up", 1), ("message", 1), ("down", 1)])
            self.assertEqual((events[0]["endpoint"], events[1]["endpoint"]), (server.where, f"{host}:{port}"))
            self.assertEqual((events[1]["path"], events[3]["close_code"]), ("/a", 1000))
            self.assertEqual((status, json.loads(out)["event"]), (0, "report"))

    def test_it_serves_lines_in_a_stream_and_on_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            for where in ("tcp://0", f"unix:{folder}/socket"):
                with Server("--listen", where) as server:
                    with server.socket() as first, server.socket() as second:
                        first.sendall(b"hello\n")
                        self.assertEqual(server.program.stdout.readline(), b"1: hello\n")
                        second.sendall(b"there\n")
                        self.assertEqual(server.program.stdout.readline(), b"2: there\n")
                        server.type(b"one\ntwo\n")
                        for client in (first, second):
                            self.assertEqual(client.makefile("rb").read(8), b"one\ntwo\n")
                            client.shutdown(socket.SHUT_WR)
                    self.assertEqual(server.end()[0], 0)

    def test_the_input_waits_for_a_first_client_and_its_end_for_all_that_is_queued(self):
        lines = b"".join(b"line %d\n" % i for i in range(100_000))
        with Server("--listen", "tcp://0", "--close-on-eof") as server:
            writer = threading.Thread(target=lambda: (server.type(lines), server.program.stdin.close()))
            writer.start()
            with server.socket() as client:
                self.assertTrue(drain(client) == lines)
            writer.join(PATIENCE)
            self.assertEqual(server.program.wait(PATIENCE), 0)

    def test_a_client_that_reads_nothing_delays_nobody_and_is_in_the_exit_status(self):
        lines = b"".join(b"line %0100d\n" % i for i in range(80_000))  # more than the sockets hold, less than the outbox
        with Server("--listen", "tcp://0") as server, server.socket() as deaf, server.socket() as client:
            for one in (deaf, client):
                one.sendall(b"here\n")
                server.program.stdout.readline()
            writer = threading.Thread(target=server.type, args=[lines])
            writer.start()
            self.assertTrue(client.makefile("rb").read(len(lines)) == lines)
            writer.join(PATIENCE)
            status, _, err = server.end()
            self.assertEqual(status, 4)
            self.assertIn(b"unsent", err)

    def test_count_and_the_reader_s_end_stop_it_too(self):
        with Server("--listen", "tcp://0", "--count", "2") as server, server.socket() as client:
            client.sendall(b"1\n2\n3\n")
            self.assertEqual(drain(client), b"")
            client.close()
            self.assertEqual(server.program.communicate(timeout=PATIENCE)[0], b"1: 1\n1: 2\n")
            self.assertEqual(server.program.returncode, 0)

    def test_who_may_connect(self):
        with Server("--listen", "0", "--bearer", "secret", "--origin", "https://a.example") as server:
            async def work(client):
                await client.send("hello")
            good = {"extra_headers": {"Authorization": "Bearer secret"}}
            for options, status in (({}, 401), ({**good, "origin": "https://b.example"}, 403)):
                with self.assertRaises(websockets.InvalidStatusCode) as refused:
                    self.browse(work, server.where, **options)
                self.assertEqual(refused.exception.status_code, status)
            self.browse(work, server.where, **good, origin="https://a.example")
            self.assertRegex(server.program.stdout.readline(), rb"^\d+: hello\n$")
            self.assertEqual(server.end(), (0, b"", b""))

    @unittest.skipIf("WITHOUT_TLS" in os.environ, "built without TLS")
    def test_it_serves_over_tls(self):
        certificate, key = (Certificates.path("valid" + end) for end in (".pem", ".key"))
        context = ssl.create_default_context(cafile=Certificates.path("ca.pem"))
        with Server("--listen", "wss://localhost:0", "--cert", certificate, "--key", key) as server:
            async def work(client):
                await client.send("hello")
                self.assertEqual(server.program.stdout.readline(), b"1: hello\n")
            port = server.where.rsplit(":", 1)[1]
            self.browse(work, f"wss://localhost:{port}", ssl=context)
            self.assertEqual(server.end()[0], 0)

    def test_a_relay_passes_the_feed_on_and_nothing_back(self):
        got = queue.Queue()

        async def serve(ws):
            got.put(await ws.recv())
            for text in ("one", b"\0\xff", "three"):
                await ws.send(text)
            async for message in ws:
                got.put(message)
        with WebSocketPeer(serve) as peer, Server(peer.url, "--relay", "0") as server:
            async def work(first, second):
                for client in (first, second):
                    await client.send("not for the feed")
                await asyncio.gather(*(client.ping() for client in (first, second)))
                server.type(b"subscribe\n")
                for client in (first, second):
                    self.assertEqual([await client.recv() for _ in range(3)], ["one", b"\0\xff", "three"])
            self.browse(work, server.where, server.where)
            self.assertEqual(lines_of(server.program, 3), [b"one\n", b"00ff\n", b"three\n"])
            self.assertEqual(server.end()[:2], (0, b""))
            self.assertEqual((got.get(timeout=PATIENCE), got.qsize()), ("subscribe", 0))

    def test_a_recording_can_be_relayed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = folder + "/run.sidecar"
            with WebSocketPeer(says("one", "two", then=close_normally)) as peer:
                self.assertEqual(run("--record", file, peer.url)[0], 0)
            with Server(file, "--relay", "0", "--json") as server:
                self.assertEqual(server.program.wait(PATIENCE), 0)
                events = [json.loads(line) for line in server.program.stdout.read().splitlines()]
        self.assertEqual([e["text"] for e in events if e["event"] == "message"], ["one", "two"])

    def test_the_end_of_the_feed_ends_the_relay_and_its_clients(self):
        async def serve(ws):
            await ws.recv()
            await ws.close(1011, "broken")
        with WebSocketPeer(serve) as peer, Server(peer.url, "--relay", "tcp://0") as server:
            with server.socket() as client:
                server.type(b"go\n")
                self.assertEqual(drain(client), b"")
            self.assertEqual(server.program.wait(PATIENCE), 3)
            self.assertIn(b"1011", server.program.stderr.read())
        with Server("tcp://127.0.0.1:1", "--relay", "tcp://0") as server:
            self.assertEqual(server.program.wait(PATIENCE), 1)
            self.assertIn(b"127.0.0.1:1", server.program.stderr.read())

    def test_an_address_that_is_taken_is_said_at_once(self):
        with socket.create_server(("127.0.0.1", 0)) as taken, WebSocketPeer(echo) as peer:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for arguments in (["--listen", address], ["--relay", address, peer.url], ["--listen", "tcp://" + address]):
                status, out, err = run(*arguments)
                self.assertEqual((status, out), (1, b""), arguments)
                self.assertIn(address.encode(), err)
                self.assertIn(b"in use", err)
        status, _, err = run("--listen", "nowhere.invalid:0")
        self.assertEqual(status, 1)
        self.assertIn(b"nowhere.invalid", err)


class Usage(unittest.TestCase):
    def test_each_mistake_has_status_2_and_its_own_text(self):
        url = "ws://127.0.0.1:1/"
        for arguments, expected in (
                ([], "the URL is missing"),
                ([url, url], "more than one URL"),
                (["--nonsense", url], "there is no option --nonsense"),
                (["http://x"], "must begin with"),
                (["tcp://host"], "host:port"),
                (["--count", "-1", url], "--count"),
                (["--framing", "lines", url], "there is no option --framing"),
        ):
            status, out, err = run(*arguments)
            self.assertEqual((status, out), (2, b""), arguments)
            self.assertIn(expected.encode(), err)

    def test_what_the_transport_does_not_understand_is_a_mistake_of_usage(self):
        for arguments in (["ws://:80"], ["ws://user:secret@host/"], ["--header", "Connection: x", "ws://h/"], ["tcp://a b:1"]):
            status, _, err = run(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertNotEqual(err, b"")
            self.assertNotIn(b"secret", err)

    def test_a_proxy_beyond_ascii_is_advised_to_be_written_in_its_xn_form(self):
        status, out, err = run("--proxy", "http://m\u00fcnchen.test:1", "ws://h/")
        self.assertEqual((status, out), (2, b""))
        self.assertIn(b"xn-- form", err)
        self.assertNotIn(b"percent", err)

    def test_a_secret_that_cannot_be_read_is_a_mistake_of_usage(self):
        for path in ("/nowhere", "/tmp", "/dev/zero"):
            for option in ("--auth", "--header", "--proxy"):
                status, _, err = run(option, "@" + path, "ws://127.0.0.1:1/")
                self.assertEqual(status, 2)
                self.assertIn(f"{option}: the file {path} cannot be read".encode(), err)

    def test_help_and_version(self):
        status, out, err = run("--help")
        self.assertEqual((status, err), (0, b""))
        self.assertEqual(out.count(b"\n  sidecar-cat ") + out.count(b"| sidecar-cat "), 8)
        self.assertRegex(run("--version")[1], rb"^sidecar-cat \d+\.\d+\.\d+\n$")


class Speed(unittest.TestCase):
    def test_a_million_small_messages_go_into_a_pipe(self):
        data = b"".join(b"message number %d\n" % i for i in range(1_000_000))
        with TcpPeer(lambda c: (c.sendall(data), drain(c))) as peer:
            began = time.monotonic()
            status, out, _ = run("--count", "1000000", peer.url)
            seconds = time.monotonic() - began
        self.assertEqual(status, 0)
        self.assertTrue(out == data)
        print(f"a million messages in {seconds:.2f} s")
        self.assertLess(seconds, PATIENCE)


if __name__ == "__main__":
    unittest.main(verbosity=1)
