#!/usr/bin/python3
"""Compares our parsers with independent ones (wsproto and h11) on generated streams: frames of a server, and answers to
the opening handshake. The same seed gives the same streams. Each difference must be in the table of explained ones.
  differential.py PARSERS [STREAMS [SEED]]"""
import collections, random, re, subprocess, sys, zlib

try:
    import h11
    from wsproto import ConnectionType
    from wsproto.connection import Connection, ConnectionState
    from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
    from wsproto.extensions import PerMessageDeflate
    from wsproto.frame_protocol import CloseReason, RsvBits
    from wsproto.handshake import H11Handshake
    from wsproto.utilities import RemoteProtocolError, generate_accept_token
except ImportError as missing:
    print(f"skipped: {missing}. Debian and Ubuntu: apt install python3-wsproto")
    sys.exit(77)


# --- streams of frames

TEXTS = ["", "a", "hello", "{\"price\": 1.5}", "grüße", "日本語", "🎉 party", "x" * 125, "y" * 126, "é" * 300]
BAD_UTF8 = [b"\x80", b"\xc0\xaf", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff",
            b"abc\xe2(\xa1", b"\xf0\x9f\x8e"]


class Deflater:
    """What a server sends compressed."""

    def __init__(self, r, keeps):
        self.keeps, self.bits, self.level = keeps, r.choice([-9, -12, -15]), r.choice([1, 6, 9])
        self.stream = None

    def message(self, r, payload):
        if not self.stream:
            self.stream = zlib.compressobj(self.level, zlib.DEFLATED, self.bits)
        data = self.stream.compress(payload) + self.stream.flush(zlib.Z_SYNC_FLUSH)
        if not self.keeps:
            self.stream = None
        return data[:-4]


def frame(r, first, payload, kind="shortest", masked=False):
    size = len(payload)
    width = 0 if size < 126 else 2 if size < 65536 else 8
    if kind == "long":
        width = r.choice([w for w in (2, 8) if w > width] or [8])
    mask = 0x80 if masked else 0
    head = bytes([first, mask | (size if width == 0 else 126 if width == 2 else 127)]) + (size.to_bytes(width, "big") if width else b"")
    if masked:
        key = r.randbytes(4)
        payload = key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))
    return head + payload


def pieces_of(r, payload):
    count = r.choice([1, 1, 1, 2, 3, 5])
    cuts = sorted(r.randrange(len(payload) + 1) for _ in range(count - 1))
    return [payload[a:b] for a, b in zip([0] + cuts, cuts + [len(payload)])]


def control(r):
    opcode = r.choice([0x9, 0x9, 0xA])
    return frame(r, 0x80 | opcode, r.randbytes(r.choice([0, 1, 4, 8, 125])))


def message(r, deflater):
    is_text = r.random() < 0.7
    payload = r.choice(TEXTS).encode() * r.choice([1, 1, 1, 3]) if is_text else r.randbytes(r.choice([0, 1, 10, 126, 1000, 70000 if r.random() < 0.1 else 5]))
    if is_text and r.random() < 0.06:
        at = r.randrange(len(payload) + 1)
        payload = payload[:at] + r.choice(BAD_UTF8) + payload[at:]
    rsv = 0
    if deflater and r.random() < 0.7:
        payload, rsv = deflater.message(r, payload), 0x40
        if r.random() < 0.08 and payload:
            if r.random() < 0.5:
                at = r.randrange(len(payload))
                payload = payload[:at] + bytes([payload[at] ^ 1 << r.randrange(8)]) + payload[at + 1:]
            else:
                payload = payload[:r.randrange(len(payload))]
    out = b""
    parts = pieces_of(r, payload)
    for i, part in enumerate(parts):
        first = (0x80 if i + 1 == len(parts) else 0) | (0 if i else (1 if is_text else 2) | rsv)
        out += frame(r, first, part)
        while i + 1 < len(parts) and r.random() < 0.25:
            out += control(r)
    return out


def close(r):
    code = r.choice([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999, r.randrange(65536),
                     r.choice([0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535])])
    body = r.choice([b"", b"\x03", code.to_bytes(2, "big"), code.to_bytes(2, "big") + b"bye", code.to_bytes(2, "big") + "größe".encode(),
                     code.to_bytes(2, "big") + r.choice(BAD_UTF8), code.to_bytes(2, "big") + b"r" * 123])
    return frame(r, 0x88, body)


def broken(r):
    """One frame that breaks a rule, or a wild one."""
    some = r.randbytes(r.choice([0, 1, 5, 125, 126, 300]))
    return r.choice([
        lambda: frame(r, 0x80 | r.choice([3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF]), some),
        lambda: frame(r, 0x81 | r.choice([0x10, 0x20, 0x40, 0x70]), b"text"),
        lambda: frame(r, 0x89 | r.choice([0x10, 0x40]), b"ping"),
        lambda: frame(r, 0x80, some) + frame(r, 0xC0, some),
        lambda: frame(r, 0x01, b"begun") + frame(r, r.choice([0x81, 0x02, 0xC1]), b"anew"),
        lambda: frame(r, 0x01, b"begun") + frame(r, 0xC0, b"more"),
        lambda: frame(r, r.choice([0x08, 0x09, 0x0A]), b"fragment"),
        lambda: frame(r, r.choice([0x88, 0x89, 0x8A]), b"z" * 126),
        lambda: frame(r, r.choice([0x81, 0x82, 0x89]), b"long", kind="long"),
        lambda: frame(r, 0x82, b"q" * 126, kind="long"),
        lambda: frame(r, r.choice([0x81, 0x89]), b"masked", masked=True),
        lambda: bytes([0x82, 127]) + (1 << 63 | 5).to_bytes(8, "big") + some,
        lambda: bytes([0x82, 127]) + (1 << r.randrange(20, 62)).to_bytes(8, "big") + some,
        lambda: r.randbytes(r.randrange(1, 40)),
    ])()


def frames(r):
    compression = r.choice(["none", "none", "keeps", "forgets"])
    deflater = None if compression == "none" else Deflater(r, compression == "keeps")
    out = b""
    for _ in range(r.choice([1, 2, 3, 6])):
        what = r.random()
        out += message(r, deflater) if what < 0.75 else control(r) if what < 0.85 else close(r) if what < 0.92 else broken(r)
    if r.random() < 0.5:
        out += close(r)
    if r.random() < 0.15 and out:
        out = out[:r.randrange(len(out))]
    if r.random() < 0.1 and out:
        at = r.randrange(len(out))
        out = out[:at] + bytes([out[at] ^ 1 << r.randrange(8)]) + out[at + 1:]
    return "frames", compression, segments(r, len(out)), out


def segments(r, size):
    if r.random() < 0.3:
        return [size or 1]
    largest = r.choice([1, 2, 7, 100, 2000])
    cuts, total = [], 0
    while total < size and len(cuts) < 400:
        cuts.append(r.randint(1, largest))
        total += cuts[-1]
    return cuts or [1]


class Inflater:
    """RFC 7692 section 7.2.3.4: a block may be the last of its DEFLATE stream; another stream follows in its window.
    Where nothing is left to complete, the octets that a sender has removed add nothing."""
    TAIL = b"\0\0\xff\xff"

    def __init__(self):
        self.stream, self.window, self.is_empty = zlib.decompressobj(-15), b"", True

    def decompress(self, data):
        out = b""
        if data == self.TAIL and (self.stream.eof or self.is_empty):
            return out
        self.is_empty = self.is_empty and not data
        while data:
            if self.stream.eof:
                self.stream = zlib.decompressobj(-15, zdict=self.window) if self.window else zlib.decompressobj(-15)
            part = self.stream.decompress(data)
            self.window = (self.window + part)[-32768:]
            out, data = out + part, self.stream.unused_data
        return out

    def flush(self):
        return b""

    def is_between_blocks(self):
        is_empty, self.is_empty = self.is_empty, True
        if self.stream.eof or is_empty:
            return True
        probe = self.stream.copy()
        try:
            return probe.decompress(b"\x01\0\0\xff\xff") == b"" and probe.eof and not probe.unused_data
        except zlib.error:
            return False


class Deflate(PerMessageDeflate):
    """wsproto with two mends:
    - It takes the end of a control frame for the end of the compressed message around it (RFC 7692 section 6.1).
    - See Inflater; and it accepts a message that ends within a block, which is no DEFLATE data (section 7.2.2)."""

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        if opcode.iscontrol() and not rsv.rsv1:
            self._inbound_is_compressible = False
            return RsvBits(False, False, False)
        if rsv.rsv1 and self._decompressor is None:
            self._decompressor = Inflater()
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_complete(self, proto, fin):
        if not self._inbound_is_compressible:
            return None
        inflater = self._decompressor if fin and self._inbound_compressed else None
        result = super().frame_inbound_complete(proto, fin)
        if inflater and not isinstance(result, CloseReason) and not inflater.is_between_blocks():
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return result


def cut(stream, sizes):
    at = 0
    for size in sizes:
        if at < len(stream):
            yield stream[at:at + size]
        at += size
    if at < len(stream):
        yield stream[at:]


def hear_frames(compression, sizes, stream):
    extensions = []
    if compression != "none":
        deflate = Deflate()
        deflate.finalize("permessage-deflate" + ("; server_no_context_takeover" if compression == "forgets" else ""))
        extensions = [deflate]
    connection = Connection(ConnectionType.CLIENT, extensions)
    said, parts, ping, end = [], [], "none", "open"
    for piece in cut(stream, sizes):
        connection.receive_data(piece)
        for event in connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                is_text = isinstance(event, TextMessage)
                parts.append(event.data.encode() if is_text else bytes(event.data))
                if event.message_finished:
                    said.append(("text:" if is_text else "binary:") + b"".join(parts).hex())
                    parts = []
            elif isinstance(event, Ping):
                ping = "0x" + bytes(event.payload).hex()
            elif isinstance(event, CloseConnection):
                if connection.state is ConnectionState.REMOTE_CLOSING:
                    code = 0 if event.code is CloseReason.NO_STATUS_RCVD else int(event.code)
                    end = f"closed:{code}:{(event.reason or '').encode().hex()}"
                else:
                    end = f"failed:{int(event.code)}"
        if end != "open":
            break
    return " ".join(said + ["ping:" + ping, end])


# --- answers to the opening handshake

def case(r, text):
    return r.choice([text, text, text, text.lower(), text.upper(), text.swapcase()])


def space(r):
    return r.choice(["", " ", " ", " ", " ", "\t", "  ", " \t "])


def answer(r):
    compression = r.choice(["none", "offered"])
    lines = []
    put = lambda name, value: lines.append(case(r, name) + ":" + space(r) + value + r.choice(["", "", "", " ", "\t"]))
    rarely = lambda usual, *rare: usual if r.random() < 0.85 else r.choice(rare)
    put("Upgrade", rarely(case(r, "websocket"), "websocket, other", "other, websocket", "h2c", "", "web socket", ",websocket"))
    put("Connection", rarely(case(r, "Upgrade"), "keep-alive, Upgrade", "Upgrade , keep-alive", ",Upgrade,,", "close", "", "Upgraded", "keep-alive Upgrade"))
    put("Sec-WebSocket-Accept", rarely("$ACCEPT", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "", "$ACCEPT=", "$ACCEPT, $ACCEPT", "\"$ACCEPT\""))
    if r.random() < 0.3:
        put("Sec-WebSocket-Protocol", r.choice(["chat", "superchat", "chat", "Chat", "other", "", "chat, superchat", "chat;q=1"]))
    if r.random() < 0.4:
        put("Sec-WebSocket-Extensions", r.choice([
            "permessage-deflate", "permessage-deflate; server_no_context_takeover", "permessage-deflate;server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=12; client_no_context_takeover", "permessage-deflate; server_max_window_bits=\"10\"",
            "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=07", "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "permessage-deflate, permessage-deflate",
            "x-webkit-deflate-frame", "", ",", "permessage-deflate;", "; server_no_context_takeover", "Permessage-Deflate",
            "permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER", "permessage-deflate , ", "permessage-deflate; server_max_window_bits=10; client_max_window_bits=15"]))
    for _ in range(r.choice([0, 0, 1, 3])):
        put(r.choice(["Server", "Date", "X-Trace", "Set-Cookie"]), r.choice(["nginx", "a=b; c", "", "grüße", "\"quoted\"", "x" * 300]))
    r.shuffle(lines)
    for _ in range(r.choice([0, 0, 0, 1, 2])):
        at = r.randrange(len(lines) + 1)
        lines.insert(at, r.choice([
            lambda: r.choice(lines), lambda: "Connection: keep-alive", lambda: "Upgrade: other", lambda: "Sec-WebSocket-Accept: other", lambda: "Sec-WebSocket-Protocol: chat",
            lambda: " folded", lambda: "\tfolded", lambda: "no colon", lambda: ": no name", lambda: "Bad Name: x", lambda: "Name : x", lambda: "Na(me: x",
            lambda: "X-Control: a\x01b", lambda: "X-Nul: a\0b", lambda: "X-Delete: a\x7fb", lambda: "X-Return: a\rb", lambda: "Content-Length: 0", lambda: "Content-Length: x",
            lambda: "Content-Length: 1, 2", lambda: "Transfer-Encoding: chunked", lambda: "Transfer-Encoding: gzip", lambda: "Näme: x",
            lambda: "X-Vertical: a\vb", lambda: "X-Form: a\fb", lambda: "X-Latin: \udce4", lambda: "X-Next: \x85"])())
    status = rarely("HTTP/1.1 101 Switching Protocols", "HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.0 101 Old", "HTTP/1.2 101 New", "HTTP/2 101 x", "HTTP/1.1 200 OK", "HTTP/1.1 403 Forbidden",
                    "HTTP/1.1 302 Found", "HTTP/1.1 100 Continue", "HTTP/1.1 999 ?", "HTTP/1.1 099 ?", "HTTP/1.1 1010 x", "HTTP/1.1  101 x", "http/1.1 101 x", "HTTP/1.1 10 x", "HTTP/1.1\t101 x",
                    "HTTP/1.1 101x", "HTTP/1.1 101 \x01", "HTTP/1.1 101 gr\xfc\xdfe", "ICY 200 OK", "", "SSH-2.0-OpenSSH", "HTTP/11 101 x", "HTTP/1.1 101 a\rb", "HTTP/1.1 426 Upgrade Required")
    end = r.choice(["\r\n", "\r\n", "\r\n", "\n"])
    out = status + end + "".join(line + (end if r.random() < 0.98 else r.choice(["\n", "\r\n", "\r\r\n"])) for line in lines) + end
    if r.random() < 0.06:
        out = r.choice(["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "\r\n", " "]) + out
    stream = out.encode("utf-8", "surrogateescape")
    if r.random() < 0.08:
        stream = stream[:r.randrange(len(stream) + 1)]
    if r.random() < 0.1:
        at = r.randrange(len(stream) or 1)
        stream = stream[:at] + bytes([r.choice([0, 9, 10, 13, 32, 44, 58, 59, 127, 200, r.randrange(256)])]) + stream[at + 1:]
    if r.random() < 0.3:
        stream += r.choice([b"\x81\x02hi", b"rest", b"\r\n"])
    return "answer", compression, segments(r, len(stream)), stream


def hear_answer(compression, sizes, stream):
    handshake = H11Handshake(ConnectionType.CLIENT)
    offered = [PerMessageDeflate()] if compression == "offered" else []
    handshake.send(Request(host="h", target="/", subprotocols=["chat", "superchat"], extensions=offered))
    accept = generate_accept_token(handshake._nonce)
    taken = 0
    try:
        for piece in cut(stream.replace(b"$ACCEPT", accept), sizes):
            taken += len(piece)
            handshake.receive_data(piece)
            for event in handshake.events():
                if isinstance(event, AcceptConnection):
                    rest = len(handshake._h11_connection.trailing_data[0])
                    deflate = event.extensions[0] if event.extensions else None
                    how = "plain" if not deflate else "forgets" if deflate.server_no_context_takeover else "keeps"
                    return f"accepted:{taken - rest}:{event.subprotocol or ''}:{how}"
                # An interim answer is none (RFC 9110 section 15.2); wsproto takes it for a refusal
                if isinstance(event, RejectConnection) and event.status_code >= 200:
                    return f"refused:{event.status_code}"
    except (RemoteProtocolError, ValueError, IndexError) as error: # the others are faults of wsproto's that mean no, too
        return f"refused:0 #{error!r}"
    return "incomplete"


# --- differences

def main():
    parsers = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 22
    cases = []
    for i in range(count):
        r = random.Random(f"{seed} {i}")
        cases.append(frames(r) if i % 2 else answer(r))
    lines = "".join(f"{what} {compression} {','.join(map(str, sizes))} {stream.hex()}\n" for what, compression, sizes, stream in cases)
    run = subprocess.run([parsers], input=lines, capture_output=True, text=True, timeout=100, check=True)
    ours = run.stdout.splitlines()
    if len(ours) != count:
        sys.exit(f"{len(ours)} verdicts on {count} streams")
    seen, unexplained, kinds = collections.Counter(), 0, collections.Counter()
    for i, (what, compression, sizes, stream) in enumerate(cases):
        theirs = (hear_frames if what == "frames" else hear_answer)(compression, sizes, stream)
        mine, _, why = ours[i].partition(" #")
        other, _, their_why = theirs.partition(" #")
        kinds[what + " " + re.sub(r".*(open|closed|failed|accepted|refused|incomplete).*", r"\1", other)] += 1
        if mine == other or (mine.startswith("refused:") and other == "refused:0"): # theirs has no status then
            continue
        name = explain(what, compression, stream, mine, other, why)
        seen[name] += 1
        if name is None:
            unexplained += 1
            if unexplained <= 60:
                print(f"{seed} {i}: {what} {compression} {stream!r:.900}\n  ours   {mine[-200:]} {why}\n  theirs {other[-200:]} {their_why}")
    print(dict(kinds))
    for name, times in seen.most_common():
        print(f"{times:5} {name}")
    print(f"{count - unexplained} passed, {unexplained} failed")
    sys.exit(unexplained != 0)


# Each row: why we differ, who is right, and the stream or the verdict after which both must agree.
def fields(stream, change):
    """The answer with `change` applied to each field line; None drops it."""
    lines = stream.split(b"\n")
    end = next((i for i, line in enumerate(lines) if i and line in (b"", b"\r")), len(lines))
    unfolded = []
    for line in lines[1:end]:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] = unfolded[-1].rstrip(b"\r") + b" " + line.strip()
        else:
            unfolded.append(line)
    changed = [change(line) for line in unfolded]
    return b"\n".join(lines[:1] + [line for line in changed if line is not None] + lines[end:])


def named(line, *names):
    return line.partition(b":")[0].strip().lower() in names


def without_lengths(stream):
    return fields(stream, lambda line: None if named(line, b"content-length", b"transfer-encoding") else line)


def with_tidy_lists(stream):
    def tidy(line):
        if not named(line, b"upgrade", b"connection", b"sec-websocket-extensions"):
            return line
        name, _, value = line.partition(b":")
        elements = [element for element in (part.strip() for part in value.split(b",")) if element]
        return name + b": " + b", ".join(elements) if elements else None
    return fields(stream, tidy)


def with_one_line_each(stream):
    found = {}
    def collect(line):
        for name in (b"upgrade", b"connection", b"sec-websocket-extensions"):
            if named(line, name):
                found.setdefault(name, []).append(line.partition(b":")[2].strip())
                return None if len(found[name]) > 1 else b"@" + name
        return line
    joined = fields(stream, collect)
    for name, values in found.items():
        values = values[:1] if name == b"upgrade" and len({value.lower() for value in values}) == 1 else values
        joined = joined.replace(b"@" + name, name + b": " + b", ".join(values))
    return joined


def in_lower_case(stream):
    return fields(stream, lambda line: line.lower() if named(line, b"sec-websocket-extensions") else line)


def with_larger_window(stream):
    return fields(stream, lambda line: line.replace(b"window_bits=8", b"window_bits=9").replace(b'window_bits="10"', b"window_bits=10"))


def in_ascii(stream):
    lists = (b"upgrade", b"connection", b"sec-websocket-extensions", b"sec-websocket-protocol")
    return fields(stream, lambda line: re.sub(rb"[\x80-\xff]", b"?", line) if named(line, *lists) else line)


def without_interim(stream):
    return re.sub(rb"\A(?:HTTP/1\.\d 1(?!01)\d\d[ \r\n][^\n]*?\r?\n?(?:[^\n]+\n)*?\r?\n)+", b"", stream)


REWRITTEN = [
    ("We skip interim answers, whatever they say (RFC 9110 section 15.2); h11 reads them", without_interim),
    ("We ignore lengths of an answer 101, as RFC 9112 section 6.3 demands; h11 refuses those it cannot read", without_lengths),
    ("We join the lines of a list, as RFC 9110 section 5.3 says; wsproto looks at the last one", with_one_line_each),
    ("We ignore empty elements of a list, as RFC 9110 section 5.6.1.2 demands; wsproto refuses them", with_tidy_lists),
    ("We ignore the case of an extension and its parameters, as of most names in HTTP; wsproto does not know them then", in_lower_case),
    ("We accept a window of 8 bits, and a quoted value (RFC 7692 section 7.1.2, RFC 6455 section 9.1); wsproto raises", with_larger_window),
    ("We read octets above 127 (RFC 9110 section 5.5); wsproto raises", in_ascii),
]


def has_several(name):
    return lambda stream: len(re.findall(rb"(?im)^" + name + rb"[ \t]*:", stream)) > 1


def has(pattern):
    return lambda stream: re.search(pattern, stream) is not None


# We refuse, wsproto accepts: our reason, what the stream must have then, and why.
STRICTER = [
    ("cannot be read", has(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]"),
     "We refuse control characters in a field (RFC 9110 section 5.5 calls them invalid); h11 refuses NUL alone"),
    ("several Sec-WebSocket-Accept", has_several(rb"sec-websocket-accept"),
     "We refuse several Sec-WebSocket-Accept (RFC 6455 section 11.3.3); wsproto takes the last one"),
    ("several subprotocols", has_several(rb"sec-websocket-protocol"),
     "We refuse several Sec-WebSocket-Protocol (RFC 6455 section 11.3.4); wsproto takes the last one"),
    ("HTTP/1.0", has(rb"HTTP/1\.0 101"), "We refuse an upgrade in HTTP/1.0 (RFC 9110 section 7.8); wsproto does not look at the version"),
    ("permessage-deflate|context_takeover|window_bits|Sec-WebSocket-Extensions", has(rb"(?i)sec-websocket-extensions"),
     "We refuse parameters of an extension that break a rule (RFC 7692 section 7.1, RFC 6455 section 9.1); wsproto reads past them"),
    ("permessage-deflate twice", has(rb"(?i)permessage-deflate.*permessage-deflate"),
     "We refuse an extension that was chosen twice (RFC 7692 section 7.1); wsproto does not"),
]


def explain(what, compression, stream, mine, other, why):
    if what == "frames":
        return explain_frames(compression, stream, mine, other, why)
    if mine.startswith("refused"):
        if other == "incomplete":
            more = hear_answer(compression, [len(stream)], stream + b"\r\n\r\n\r\n")
            return "We refuse an answer at the octet that no answer can have; h11 at its end" if more.startswith("refused") else None
        for reason, applies, name in STRICTER:
            if other.startswith("accepted") and re.search(reason, why) and applies(stream):
                return name
    everything = stream
    for _, rewrite in REWRITTEN:
        everything = rewrite(everything)
    # Each alone, then all: one answer may need several of them
    for name, rewritten in [(name, rewrite(stream)) for name, rewrite in REWRITTEN] + [("Several of these", everything)]:
        if rewritten == stream:
            continue
        verdict = hear_answer(compression, [len(rewritten) or 1], rewritten).partition(" #")[0]
        if verdict.startswith("accepted"):
            head, length, rest = verdict.split(":", 2)
            verdict = f"accepted:{int(length) + len(stream) - len(rewritten)}:{rest}"
        if verdict == mine or (verdict.startswith("refused") and mine.startswith("refused")):
            return name
    return None


def explain_frames(compression, stream, mine, other, why):
    if mine.startswith(other[:-len("open")]) and "failed" in mine and other.endswith("open"):
        more = hear_frames(compression, [len(stream), 1], stream + b"\0" * 140)
        if more.endswith(mine[mine.index("failed"):]):
            return "We refuse a frame at its first octet that breaks a rule; wsproto once it has more of it"
    if compression != "none" and mine.endswith(" failed:1002") and other == mine[:-1] + "7":
        return "Of a frame whose head and whose compressed payload break a rule we name the head's; wsproto the payload's"
    without_ping = [re.sub(r"ping:\S+", "", verdict) for verdict in (mine, other)]
    if "not UTF-8" in why and without_ping[0] == without_ping[1]:
        return "We refuse a surrogate in UTF-8 at its second octet; Python at its third, after a ping between them"
    known = hear_frames(compression, [len(stream)], stream.replace(b"\x03\xf6", b"\x03\xf5"))
    if b"\x03\xf6" in stream and known == mine.replace("closed:1014", "closed:1013"):
        return "We accept the close code 1014, which IANA's registry has; wsproto is older"
    return None


if __name__ == "__main__":
    main()
