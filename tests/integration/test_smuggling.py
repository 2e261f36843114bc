# SPDX-License-Identifier: MIT
"""What nobody honest sends, byte for byte: the edge refuses it, or the origin gets exactly the
requests that the edge counted. One edge and one origin for all; each case names its RFC section."""
import socket

import pytest
from env import raw
from env.conf import region
from env.proxy import Proxy
from env.recorder import Recorder

H = b"Host: a\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


class World:
    """The edge, its origin, and names for cases."""

    def __init__(self, directory):
        self.origin = Recorder()
        self.proxy = Proxy(directory, [region("near", self.origin.url)],
                           edge={"workers": 1, "id": "edge-1"}, retry={"attempts": 1},
                           limits={"header_bytes": 32768}, timeouts={"client_header_ms": 5000})
        self.port = self.proxy.port
        self.cases = 0

    def case(self):
        self.cases += 1
        return f"c{self.cases}"

    def connect(self):
        return raw.Conn(self.port)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("smuggling"))
    try:
        yield made
        made.origin.check()
        made.proxy.stop()
    finally:
        made.proxy.destroy()
        made.origin.close()


def message(case, line=b"POST /a HTTP/1.1", host=H, fields=b"", body=b""):
    return line + b"\r\n" + host + b"X-Case: " + case.encode() + b"\r\n" + fields + b"\r\n" + body


def hidden(case):
    """The request an attacker would like to be seen behind another."""
    return f"GET /hidden/{case} HTTP/1.1\r\nHost: a\r\nX-Case: {case}\r\n\r\n".encode()


def drip(conn, data):
    for index in range(len(data)):
        try:
            conn.socket.send(data[index:index + 1])
        except (BrokenPipeError, ConnectionResetError):
            return  # the edge has its verdict


def assert_refused(world, case, data, status, how):
    """One answer, a close, and not a byte of it at the origin as a request."""
    with world.connect() as conn:
        if how == "whole":
            conn.send(data + hidden(case))
        else:
            drip(conn, data + hidden(case))
        answer = conn.read_response()
        assert answer.status == status, answer
        assert answer.header("Connection") == "close"
        assert conn.is_closed_by_peer()
    assert raw.one_request(world.port, "GET", "/after").status == 200  # the edge has gone on
    assert world.origin.of(case) == []
    assert f"/hidden/{case}" not in world.origin.targets


# (RFC section and name, status, whether a body's fault is only seen once the head has gone on,
# line, host lines, fields, body)
BAD = []


def bad(section, name, status=400, line=b"POST /a HTTP/1.1", host=H, fields=b"", body=b""):
    BAD.append(pytest.param(status, line, host, fields, body, id=f"{section} {name}"))


for value in (b"chunked, chunked", b"chunked,chunked", b"identity, chunked", b"chunked, identity",
              b"gzip, chunked", b"chunked, gzip", b"gzip", b"identity", b"xchunked", b"chunkedx",
              b"chunked;q=1", b"\"chunked\"", b"'chunked'", b"chunked,", b",chunked", b"chunke",
              b"chun ked", b"\tchunked", b"chunked\t", b"cow", b"", b"chunked/1", b"[chunked]",
              b"trailers", b"chunked\xa0", b"\xa0chunked", b"ch\xc3\xbcnked", b"deflate,chunked"):
    bad("9112 6.1", f"Transfer-Encoding {value!r}", fields=b"Transfer-Encoding: " + value + b"\r\n",
        body=CHUNKS)
    bad("9112 6.1", f"chunked and {value!r}", fields=TE + b"Transfer-Encoding: " + value + b"\r\n",
        body=CHUNKS)
    bad("9112 6.3", f"length and Transfer-Encoding {value!r}", body=CHUNKS,
        fields=b"Content-Length: 5\r\nTransfer-Encoding: " + value + b"\r\n")
for name in (b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding",
             b"\tTransfer-Encoding", b"Transfer Encoding", b"Transfer-Encoding\x00",
             b"Transfer-Encoding\x0b", b"\x00Transfer-Encoding", b"Transfer-Encod\xc4\xb1ng",
             b"(Transfer-Encoding)", b"Transfer-Encoding:", b":Transfer-Encoding",
             b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X: y\r\r\nTransfer-Encoding",
             b"X: y\r\n Transfer-Encoding", b"X: y\x00Transfer-Encoding", b"\"Transfer-Encoding\""):
    bad("9112 5.1", f"the name {name!r}", fields=name + b": chunked\r\n", body=CHUNKS)
    bad("9112 5.1", f"a length and the name {name!r}", body=CHUNKS,
        fields=b"Content-Length: 5\r\n" + name + b": chunked\r\n")
    length = name.replace(b"Transfer", b"Content").replace(b"Encoding", b"Length")
    bad("9112 5.1", f"the name {length!r}", fields=length + b": 5\r\n", body=b"hello")
for value in (b"+5", b"-5", b"5,5", b"5, 5", b"5,6", b"5 5", b"0x5", b"5.0", b"5e0", b"five", b"",
              b"5;", b"\t5", b"5\t", b"5\x0b", b"5\x00", b"\x005", b"\"5\"", b"5_0", b"5#", b"\xb2",
              b"9223372036854775808", b"18446744073709551615", b"18446744073709551616",
              b"18446744073709551621", b"99999999999999999999999999"):
    bad("9110 8.6", f"Content-Length {value!r}", fields=b"Content-Length: " + value + b"\r\n",
        body=b"hello")
for first, second in ((b"5", b"5"), (b"5", b"6"), (b"0", b"5"), (b"5", b"0"), (b"5", b"")):
    bad("9112 6.3", f"lengths {first!r} and {second!r}", body=b"hello",
        fields=b"Content-Length: " + first + b"\r\nContent-Length: " + second + b"\r\n")
bad("9112 6.3", "a length and chunks", fields=b"Content-Length: 4\r\n" + TE, body=CHUNKS)
bad("9112 6.3", "chunks and a length", fields=TE + b"Content-Length: 4\r\n", body=CHUNKS)
bad("9112 6.3", "chunks and length 0", fields=TE + b"Content-Length: 0\r\n", body=CHUNKS)
bad("9112 6.1", "chunks in HTTP/1.0", line=b"POST /a HTTP/1.0", fields=TE, body=CHUNKS)
bad("9112 6.1", "chunks in HTTP/1.0, kept alive", line=b"POST /a HTTP/1.0", body=CHUNKS,
    fields=TE + b"Connection: keep-alive\r\n")
for end in (b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\x0b\r\n", b"\x0c\r\n", b"\x00\r\n", b"\x85\x00"):
    bad("9112 2.2", f"{end!r} ends a field", fields=b"X: y" + end + b"Content-Length: 5\r\n",
        body=b"hello")
bad("9112 2.2", "bare LF ends the request line", line=b"GET /a HTTP/1.1\nX: y")
bad("9112 2.2", "bare CR ends the request line", line=b"GET /a HTTP/1.1\rX: y")
for byte in (0, 1, 8, 11, 12, 27, 31, 127):
    bad("9110 5.5", f"byte {byte} in a value", fields=b"X: a" + bytes([byte]) + b"b\r\n")
    bad("9110 5.1", f"byte {byte} in a name", fields=b"X" + bytes([byte]) + b": b\r\n")
for byte in b"\"(),/;<=>?@[\\]{} \t\x80\xff":
    bad("9110 5.1", f"{bytes([byte])!r} in a name", fields=b"X" + bytes([byte]) + b"Y: b\r\n")
for fold in (b"\r\n ", b"\r\n\t", b"\r\n  \r\n "):
    bad("9112 5.2", f"a value folded by {fold!r}", fields=b"X: a" + fold + b"b\r\n")
    bad("9112 5.2", f"chunked folded by {fold!r}", body=CHUNKS,
        fields=b"Transfer-Encoding:" + fold + b"chunked\r\n")
bad("9112 5.1", "an empty name", fields=b": b\r\n")
bad("9112 5.1", "no colon", fields=b"X\r\n")
bad("9112 5.1", "a blank before the colon", fields=b"X : b\r\n")
bad("9112 5.2", "the first line folded", host=b" x: y\r\n" + H)
for line in (b"GET /a", b"GET", b"GET /a HTTP/1.1 ", b"GET  /a HTTP/1.1", b"GET /a  HTTP/1.1",
             b" GET /a HTTP/1.1", b"GET\t/a HTTP/1.1", b"GET /a\tHTTP/1.1", b"GET /a http/1.1",
             b"GET /a HTTP/1", b"GET /a HTTP/1.10", b"GET /a HTTP/+1.1", b"GET /a HTTPS/1.1",
             b"GET /a b HTTP/1.1", b"GET /a HTTP/1.1 HTTP/1.1", b"GET /a HTTP/1,1"):
    bad("9112 3", f"the line {line!r}", line=line)
for line in (b"GET /a HTTP/0.9", b"GET /a HTTP/1.2", b"GET /a HTTP/2.0", b"PRI * HTTP/2.0"):
    bad("9112 2.3", f"the line {line!r}", line=line, status=505)
for target in (b"a", b"?a", b"*", b"/a#b", b"#", b"/%", b"/%4", b"/%zz", b"/%4z", b"/a\x00b",
               b"/a\x7fb", b"/\xc3\xa9", b"http://u@a/", b"http://u:p@a/", b"http:///a",
               b"http:/a", b"http://", b"ftp://a/", b"http://a%41/", b"http://a\\b/", b"http://[::1/",
               b"http://a:b/", b"http://a:99999/", b"http://a?b", b"//"[:1] + b"\x01"):
    bad("9112 3.2", f"the target {target!r}", line=b"GET " + target + b" HTTP/1.1")
for method in (b"GE(T", b"G\x00T", b"G\xc3\x89T", b"\"GET\"", b"GET:", b"G" * 33):
    bad("9110 9.1", f"the method {method!r}", line=method + b" /a HTTP/1.1")
bad("9112 3.2", "no Host", host=b"")
bad("9112 3.2", "two Hosts", host=H + H)
bad("9112 3.2", "two Hosts that differ", host=H + b"Host: b\r\n")
for host in (b"", b"a b", b"a,b", b"a/b", b"u@a", b"a:b", b"a:99999", b"a#b", b"a?b", b"a\\b", b"[::1",
             b"a%41", b"\xc3\xa9", b"a\tb", b"a:80:80", b"http://a", b"[a]", b"a\x00b"):
    bad("9112 3.2", f"Host {host!r}", host=b"Host: " + host + b"\r\n")
for line in (b"GET http://b/ HTTP/1.1", b"GET http://a:81/ HTTP/1.1", b"GET http://[::1]/ HTTP/1.1"):
    bad("9112 3.2.2", f"Host and {line!r}", line=line)
for value in (b"200-ok", b"100-continue, x", b"x 100-continue", b"100-continue;x", b""):
    bad("9110 10.1.1", f"Expect {value!r}", status=417, body=b"hello",
        fields=b"Content-Length: 5\r\nExpect: " + value + b"\r\n")
bad("9110 10.1.1", "two Expects", status=417, body=b"hello",
    fields=b"Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n")
for size in (b"", b"g", b"+5", b"-5", b"0x5", b"5h", b" 5", b"5 ", b"\t5", b"5\t", b"5.", b"5,", b"5_0",
             b"00000000000000005", b"10000000000000005", b"fffffffffffffffff", b"5\x00", b"5\x0b",
             b"\xef\xbc\x95", b"5;", b"5 ;a", b"5; a", b"5;a =b", b"5;a= b", b"5;a=", b"5;=b", b"5;a\"",
             b"5;a=\"b", b"5;a=\"b\"c", b"5;a=\x00", b"5;\xc3\xa9", b"5;a\nb", b"5;a\rb",
             b"5;" + b"a" * 1100):
    bad("9112 7.1", f"chunk size {size[:24]!r}", fields=TE, body=size + b"\r\nhello\r\n0\r\n\r\n")
    bad("9112 7.1", f"last chunk size {size[:24]!r}", fields=TE,
        body=b"5\r\nhello\r\n" + size.replace(b"5", b"0") + b"\r\n\r\n")
for name, body in (("bare LF after a size", b"5\nhello\r\n0\r\n\r\n"),
                   ("bare CR after a size", b"5\rhello\r\n0\r\n\r\n"),
                   ("CR CR LF after a size", b"5\r\r\nhello\r\n0\r\n\r\n"),
                   ("bare LF after data", b"5\r\nhello\n0\r\n\r\n"),
                   ("nothing after data", b"5\r\nhello0\r\n\r\n"),
                   ("two bytes after data", b"5\r\nhelloXX0\r\n\r\n"),
                   ("more data than told", b"5\r\nhelloo\r\n0\r\n\r\n"),
                   ("less data than told", b"6\r\nhello\r\n0\r\n\r\n"),
                   ("bare LF at the end", b"5\r\nhello\r\n0\r\n\n"),
                   ("bare LF after the last size", b"5\r\nhello\r\n0\n\r\n")):
    bad("9112 7.1", name, fields=TE, body=body)
for line in (b"X", b": y", b"X : y", b" X: y", b"X: a\x00", b"X: a\nb", b"X: a\r b", b"X: y\r\n z",
             b"X\x80: y", b"X: " + b"y" * 9000):
    bad("9112 7.1.2", f"trailer {line[:20]!r}", fields=TE, body=b"0\r\n" + line + b"\r\n\r\n")
bad("9112 2.2", "three empty lines in front", line=b"\r\n\r\n\r\nGET /a HTTP/1.1")
bad("9110 5.4", "too large a head", status=431, fields=b"X: " + b"y" * 33000 + b"\r\n")
bad("9110 5.4", "too many fields", status=431, fields=b"X: y\r\n" * 101)
bad("9110 4.1", "too long a target", status=414, line=b"GET /" + b"a" * 16384 + b" HTTP/1.1")
bad("9110 9.3.6", "CONNECT", status=501, line=b"CONNECT a:443 HTTP/1.1", host=b"Host: a:443\r\n")


def test_there_are_hundreds_of_bad_cases():
    assert len(BAD) > 400


@pytest.mark.parametrize("status, line, host, fields, body", BAD)
def test_refused_once_and_nothing_behind_it_is_obeyed(world, status, line, host, fields, body):
    case = world.case()
    assert_refused(world, case, message(case, line, host, fields, body), status, "whole")


@pytest.mark.parametrize("status, line, host, fields, body",
                         [one for one in BAD[::4] if len(one.values[3]) < 200])
def test_refused_alike_when_it_comes_byte_by_byte(world, status, line, host, fields, body):
    case = world.case()
    if len(line) > 200 or len(body) > 200:
        pytest.skip("the same fault, and long")
    assert_refused(world, case, message(case, line, host, fields, body), status, "drip")


# ---- what is good, and must come out as one reading of it ----

GOOD = [
    ("9112 6.3 a length", b"POST /a HTTP/1.1", b"Content-Length: 5\r\n", b"hello", b"hello"),
    ("9110 8.6 a length with zeros", b"POST /a HTTP/1.1", b"Content-Length: 0005\r\n", b"hello",
     b"hello"),
    ("9112 6.3 blanks round a length", b"POST /a HTTP/1.1", b"Content-Length:   5  \r\n", b"hello",
     b"hello"),
    ("9112 6.1 chunks", b"POST /a HTTP/1.1", TE, CHUNKS, b"hello"),
    ("9112 6.1 chunks in capitals", b"POST /a HTTP/1.1", TE.upper(), CHUNKS, b"hello"),
    ("9112 7.1.1 extensions end here", b"POST /a HTTP/1.1", TE,
     b"5;a;b=c;d=\"e;\\\"f\"\r\nhello\r\n0;g\r\n\r\n", b"hello"),
    ("9112 7.1.2 trailers end here", b"POST /a HTTP/1.1", TE + b"Trailer: X\r\n",
     b"5\r\nhello\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", b"hello"),
    ("9112 7.1 many chunks", b"POST /a HTTP/1.1", TE, b"1\r\nh\r\n" * 50 + b"0\r\n\r\n", b"h" * 50),
    ("9112 6.3 a body on GET", b"GET /a HTTP/1.1", b"Content-Length: 5\r\n", b"hello", b"hello"),
    ("9112 6.3 a body on DELETE", b"DELETE /a HTTP/1.1", TE, CHUNKS, b"hello"),
    ("9112 6.3 no body", b"GET /a HTTP/1.1", b"", b"", b""),
    ("9112 6.3 length 0", b"POST /a HTTP/1.1", b"Content-Length: 0\r\n", b"", b""),
    ("9112 6.3 HTTP/1.0", b"POST /a HTTP/1.0", b"Content-Length: 5\r\n", b"hello", b"hello"),
    ("9112 2.2 two empty lines in front", b"\r\n\r\nGET /a HTTP/1.1", b"", b"", b""),
    ("9112 3.2.2 absolute form", b"GET http://a/a HTTP/1.1", b"", b"", b""),
    ("9112 3.2.2 absolute form, other case", b"GET HTTP://A/a HTTP/1.1", b"", b"", b""),
    ("9110 9.1 a method of nobody's list", b"FROB /a HTTP/1.1", b"", b"", b""),
    ("9110 5.5 obs-text", b"GET /a HTTP/1.1", b"X: \xc3\xa9\r\n", b"", b""),
    ("9110 5.5 an empty value", b"GET /a HTTP/1.1", b"X:\r\n", b"", b""),
    ("9110 7.6.1 Connection cannot take the framing", b"POST /a HTTP/1.1",
     b"Connection: content-length, host\r\nContent-Length: 5\r\n", b"hello", b"hello"),
    ("9110 7.6.1 Connection cannot take the chunks", b"POST /a HTTP/1.1",
     b"Connection: transfer-encoding\r\n" + TE, CHUNKS, b"hello"),
    ("9110 7.8 Upgrade is not offered", b"GET /a HTTP/1.1",
     b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", b"", b""),
    ("3875 4.1.18 a disguised length", b"GET /a HTTP/1.1", b"Content_Length: 5\r\n", b"", b""),
    ("3875 4.1.18 disguised chunks", b"GET /a HTTP/1.1", b"Transfer_Encoding: chunked\r\n", b"",
     b""),
]


@pytest.mark.parametrize("path", [b"/a", b"/v1/chat/completions"])
@pytest.mark.parametrize("how", ["whole", "drip"])
@pytest.mark.parametrize("name, line, fields, sent, body", GOOD, ids=[row[0] for row in GOOD])
def test_the_origin_sees_what_the_edge_counted(world, path, how, name, line, fields, sent, body):
    case = world.case()
    data = message(case, line.replace(b"/a ", path + b" "), H, fields, sent)
    with world.connect() as conn:
        (drip if how == "drip" else raw.Conn.send)(conn, data)
        assert conn.read_response().status == 200
        if b"HTTP/1.0" not in line:
            conn.send(hidden(case))
            assert conn.read_response().text == f"GET /hidden/{case} 0"
    seen = world.origin.of(case)
    assert [request.body for request in seen] == [body, b""][:len(seen)]
    assert len(seen) == (1 if b"HTTP/1.0" in line else 2)
    assert seen[0].target == path.decode()
    assert "_" not in "".join(key for key, _ in seen[0].fields)


def test_pipelined_requests_reach_the_origin_as_many(world):
    """RFC 9112 9.3.2."""
    case = world.case()
    parts = [message(case, b"POST /p%d HTTP/1.1" % i, H, *((TE, CHUNKS) if i % 2 else
                                                           (b"Content-Length: 5\r\n", b"hello")))
             for i in range(20)]
    with world.connect() as conn:
        conn.send(b"".join(parts))
        for i in range(20):
            assert conn.read_response().text == f"POST /p{i} 5"
    assert [request.target for request in world.origin.of(case)] == [f"/p{i}" for i in range(20)]


def test_what_was_pipelined_behind_a_bad_request_is_never_answered(world):
    """RFC 9112 9.3.2: good ones in front are answered, the bad one is refused, the rest ignored."""
    case = world.case()
    good = message(case, b"GET /good HTTP/1.1")
    with world.connect() as conn:
        conn.send(good + good + message(case, fields=TE + b"Content-Length: 5\r\n", body=CHUNKS) +
                  good + good)
        statuses = [conn.read_response().status for _ in range(3)]
        assert statuses == [200, 200, 400] and conn.is_closed_by_peer()
    assert len(world.origin.of(case)) == 2


def test_a_body_shorter_than_declared_is_no_request(world):
    """RFC 9112 8: the client ends its side in the middle of its body."""
    for fields, sent in ((b"Content-Length: 50\r\n", b"hello"), (TE, b"5\r\nhello\r\n")):
        case = world.case()
        with world.connect() as conn:
            conn.send(message(case, b"POST /short HTTP/1.1", H, fields, sent)).half_close()
            conn.read_to_end()
        assert raw.one_request(world.port, "GET", "/after").status == 200
        assert world.origin.of(case) == []


def test_a_body_longer_than_declared_is_the_next_request_or_none(world):
    """RFC 9112 6.3: what follows the length is read as a request, and refused as one."""
    case = world.case()
    with world.connect() as conn:
        conn.send(message(case, b"POST /long HTTP/1.1", H, b"Content-Length: 5\r\n",
                          b"hello, and more\r\n\r\n"))
        assert [conn.read_response().status for _ in range(2)] == [200, 400]
        assert conn.is_closed_by_peer()
    assert [request.body for request in world.origin.of(case)] == [b"hello"]


def test_expect_continue_is_answered_here_and_ends_here(world):
    """RFC 9110 10.1.1."""
    case = world.case()
    with world.connect() as conn:
        conn.send(message(case, b"POST /a HTTP/1.1", H,
                          b"Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert conn.read_head().status == 100
        assert conn.send(b"hello").read_response().status == 200
    assert [request.body for request in world.origin.of(case)] == [b"hello"]


# ---- answers ----

OK5 = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HEAD = b"HTTP/1.1 200 OK\r\n"
BAD_ANSWERS = [
    ("9112 6.3 two lengths", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("9112 6.3 a list of lengths", HEAD + b"Content-Length: 5, 5\r\n\r\nhello"),
    ("9110 8.6 a signed length", HEAD + b"Content-Length: +5\r\n\r\nhello"),
    ("9110 8.6 a length with a tab", HEAD + b"Content-Length: 5\t\r\n\r\nhello"),
    ("9110 8.6 a length of 2^64", HEAD + b"Content-Length: 18446744073709551616\r\n\r\nhello"),
    ("9112 6.3 a length and chunks", HEAD + b"Content-Length: 5\r\n" + TE + b"\r\n" + CHUNKS),
    ("9112 6.1 gzip, chunked", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS),
    ("9112 6.1 identity", HEAD + b"Transfer-Encoding: identity\r\n\r\nhello"),
    ("9112 6.1 two codings", HEAD + TE + TE + b"\r\n" + CHUNKS),
    ("9112 6.1 chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + TE + b"\r\n" + CHUNKS),
    ("9112 5.1 a blank before the colon", HEAD + b"Content-Length : 5\r\n\r\nhello"),
    ("9112 5.2 a folded field", HEAD + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello"),
    ("9112 2.2 bare LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    ("9112 2.2 bare CR in a value", HEAD + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 5.5 NUL in a value", HEAD + b"X: a\x00b\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 5.1 an empty name", HEAD + b": b\r\nContent-Length: 5\r\n\r\nhello"),
    ("9112 4 status 099", b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4 status 600", b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4 no status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4 two blanks", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.3 HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ("9112 2.3 another protocol", b"ICY 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ("9112 4 no status line", b"<html>hello</html>\r\n\r\n"),
    ("9112 2.2 an empty line in front", b"\r\n" + OK5),
    ("9110 15.2.2 101 that nobody asked for", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + EVIL),
    ("9110 15.2 an interim answer with a length",
     b"HTTP/1.1 103 Hints\r\nContent-Length: 42\r\n\r\n" + EVIL + OK5),
    ("9110 15.2 interim answers without end", b"HTTP/1.1 103 Hints\r\n\r\n" * 9 + OK5),
    ("9112 7.1 a bad first size", HEAD + TE + b"\r\nx\r\nhello\r\n0\r\n\r\n"),
    ("9110 5.4 too large a head", HEAD + b"X: " + b"y" * 33000 + b"\r\n\r\n"),
    ("9110 5.4 too many fields", HEAD + b"X: y\r\n" * 101 + b"\r\n"),
]


@pytest.mark.parametrize("data", [row[1] for row in BAD_ANSWERS], ids=[row[0] for row in BAD_ANSWERS])
def test_a_bad_answer_is_never_passed_on(world, data):
    case = world.case()
    world.origin.answers[f"/{case}"] = (data, True)
    with world.connect() as conn:
        conn.send(message(case, f"GET /{case} HTTP/1.1".encode()))
        answer = conn.read_response()
        assert answer.status in (502, 503) and b"evil" not in answer.body
        assert answer.header("Proxy-Status").startswith("nearside; error=")
        conn.send(message(case, b"GET /next HTTP/1.1"))  # our client did nothing wrong
        assert conn.read_response().text == "GET /next 0"
    first, second = world.origin.of(case)
    assert first.connection != second.connection


CUT_ANSWERS = [
    ("9112 8 a counted body that stops", HEAD + b"Content-Length: 50\r\n\r\nhello", False),
    ("9112 8 a chunked body that stops", HEAD + TE + b"\r\n5\r\nhello\r\n", False),
    ("9112 7.1 a bad size later on", HEAD + TE + b"\r\n5\r\nhello\r\nx\r\n", True),
    ("9112 7.1 two wrong bytes after data", HEAD + TE + b"\r\n5\r\nhelloXX0\r\n\r\n", True),
    ("9112 7.1.2 a bad trailer", HEAD + TE + b"\r\n5\r\nhello\r\n0\r\nX y\r\n\r\n", True),
]


@pytest.mark.parametrize("data, goes_on", [row[1:] for row in CUT_ANSWERS],
                         ids=[row[0] for row in CUT_ANSWERS])
def test_an_answer_that_breaks_off_is_never_complete(world, data, goes_on):
    case = world.case()
    world.origin.answers[f"/{case}"] = (data, goes_on)
    with world.connect() as conn:
        conn.send(message(case, f"GET /{case} HTTP/1.1".encode()))
        with pytest.raises(raw.Closed):
            answer = conn.read_response()
            assert answer.status in (502, 503), answer  # broke before its first byte went on
            raise raw.Closed("refused")


GOOD_ANSWERS = [
    ("9112 6.3 a length", OK5, b"hello", True),
    ("9112 6.1 chunks", HEAD + TE + b"\r\n" + CHUNKS, b"hello", True),
    ("9112 7.1.1 extensions", HEAD + TE + b"\r\n5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", b"hello", True),
    ("9112 7.1.2 trailers", HEAD + TE + b"\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", b"hello",
     True),
    ("9112 6.3 until the end", HEAD + b"\r\nhello", b"hello", False),
    ("9112 9.6 close", HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    ("9112 9.6 bytes after close",
     HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello" + EVIL, b"hello", False),
    ("9112 9.3 HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    ("9112 6.3 bytes behind a length", OK5 + EVIL, b"hello", False),
    ("9112 6.3 bytes behind chunks", HEAD + TE + b"\r\n" + CHUNKS + EVIL, b"hello", False),
    ("9110 15.3.5 204", b"HTTP/1.1 204 None\r\n\r\n", b"", True),
    ("9110 15.3.5 204 with a length", b"HTTP/1.1 204 None\r\nContent-Length: 42\r\n\r\n" + EVIL, b"",
     False),
    ("9110 15.3.5 204 with chunks", b"HTTP/1.1 204 None\r\n" + TE + b"\r\n" + CHUNKS, b"", False),
    ("9110 15.4.5 304 with a length", b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", b"", True),
    ("9110 15.4.5 bytes behind 304", b"HTTP/1.1 304 Same\r\nContent-Length: 42\r\n\r\n" + EVIL, b"",
     False),
    ("9110 15.2 interim answers", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 8 + OK5, b"hello", True),
    ("9110 15.2.1 100 that nobody awaits", b"HTTP/1.1 100 Continue\r\n\r\n" + OK5, b"hello", True),
    ("9112 4 no reason", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
]


@pytest.mark.parametrize("data, body, kept", [row[1:] for row in GOOD_ANSWERS],
                         ids=[row[0] for row in GOOD_ANSWERS])
def test_an_answer_ends_where_it_ends(world, data, body, kept):
    """And its connection is used again only where nothing is in doubt."""
    case = world.case()
    world.origin.answers[f"/{case}"] = (data, kept)
    with world.connect() as conn:
        conn.send(message(case, f"GET /{case} HTTP/1.1".encode()))
        answer = conn.read_response()
        assert answer.status in (200, 204, 304) and answer.body == body
        assert len(answer.headers("Content-Length")) + len(answer.headers("Transfer-Encoding")) <= 1
        conn.send(message(case, b"GET /next HTTP/1.1"))
        assert conn.read_response().text == "GET /next 0"
    first, second = world.origin.of(case)
    assert (first.connection == second.connection) == kept


def test_head_has_no_body_whatever_is_announced(world):
    """RFC 9110 9.3.2; a body that comes all the same ends the connection."""
    for data, kept in ((HEAD + b"Content-Length: 0042\r\n\r\n", True),
                       (HEAD + b"Content-Length: 42\r\n\r\n" + EVIL, False),
                       (HEAD + TE + b"\r\n", True)):
        case = world.case()
        world.origin.answers[f"/{case}"] = (data, kept)
        with world.connect() as conn:
            conn.send(message(case, f"HEAD /{case} HTTP/1.1".encode()))
            answer = conn.read_response("HEAD")
            assert answer.status == 200 and answer.header("Content-Length") in ("42", None)
            conn.send(message(case, b"GET /next HTTP/1.1"))
            assert conn.read_response().text == "GET /next 0"
        first, second = world.origin.of(case)
        assert (first.connection == second.connection) == kept


def test_an_early_answer_is_passed_on_and_both_connections_end(world, make_origin, make_proxy):
    """RFC 9112 9.3: the endpoint refuses a body before it has read it."""
    def refuse(peer, line, headers):
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        peer.socket.shutdown(socket.SHUT_WR)
        peer.read_to_end()
        return False

    proxy = make_proxy([region("near", make_origin(refuse))])
    with proxy.connect() as conn:
        conn.send(message("early", b"POST /early HTTP/1.1", H, b"Content-Length: 100000\r\n", b"x"))
        answer = conn.read_response()
        assert (answer.status, answer.text) == (413, "large")
        assert answer.header("Connection") == "close" and conn.is_closed_by_peer()


# ---- header policy ----

def fields_seen(world, fields, line=b"GET /a HTTP/1.1"):
    case = world.case()
    with world.connect() as conn:
        conn.send(message(case, line, H, fields))
        assert conn.read_response().status == 200
    [request] = world.origin.of(case)
    return request


def test_what_connection_names_ends_here_both_ways(world):
    """RFC 9110 7.6.1."""
    request = fields_seen(world, b"Connection: close, x-a\r\nX-A: 1\r\nX-B: 2\r\nKeep-Alive: 5\r\n"
                          b"Proxy-Authorization: x\r\nTE: trailers\r\n")
    assert request.header("X-B") == "2"
    for name in ("X-A", "Connection", "Keep-Alive", "Proxy-Authorization", "TE"):
        assert request.headers(name) == []
    case = world.case()
    world.origin.answers[f"/{case}"] = (
        HEAD + b"Connection: x-a\r\nX-A: 1\r\nX-B: 2\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\n"
        b"Upgrade: h2c\r\nTrailer: X\r\nContent-Length: 0\r\n\r\n", True)
    answer = raw.one_request(world.port, "GET", f"/{case}")
    assert answer.header("X-B") == "2"
    for name in ("X-A", "Keep-Alive", "Proxy-Authenticate", "Upgrade", "Trailer"):
        assert answer.headers(name) == []


CLAIMS = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded",
          "X-Real-IP", "True-Client-IP", "X_Forwarded_For", "x-FORWARDED_for", "X_Real_IP",
          "X-Original-URL", "X-Rewrite-URL", "CF-Connecting-IP", "X-Client-IP"]


@pytest.mark.parametrize("name", CLAIMS)
def test_an_untrusted_client_cannot_say_where_it_comes_from(world, name):
    request = fields_seen(world, f"{name}: 6.6.6.6\r\n".encode())
    assert "6.6.6.6" not in str(request.fields)
    assert request.headers("X-Forwarded-For") == ["127.0.0.1"]
    assert request.headers("X-Forwarded-Proto") == ["http"]
    assert request.headers("X-Forwarded-Host") == ["a"]


def test_a_trusted_proxy_is_believed_and_extended(world, make_proxy):
    proxy = make_proxy([region("near", world.origin.url)],
                       edge={"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]})
    case = world.case()
    with proxy.connect() as conn:
        conn.send(message(case, b"GET /elsewhere HTTP/1.1", H,
                          b"X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1\r\n"
                          b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: api.test\r\n"
                          b"Forwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n"
                          b"X_Forwarded_For: 6.6.6.6\r\n"))
        assert conn.read_response().status == 200
    [request] = world.origin.of(case)
    assert request.headers("X-Forwarded-For") == ["6.6.6.6, 203.0.113.9, 10.1.1.1, 127.0.0.1"]
    assert request.headers("X-Forwarded-Proto") == ["https"]
    assert request.headers("X-Forwarded-Host") == ["api.test"]
    assert request.headers("Forwarded") == ["for=203.0.113.9, for=127.0.0.1;proto=http"]
    assert request.headers("X-Real-IP") == ["203.0.113.9"]
    assert request.headers("X_Forwarded_For") == []
    proxy.stop()
    [line] = proxy.access_lines()
    assert line["client"] == "203.0.113.9" and line["peer"].startswith("127.0.0.1:")


def test_via_is_extended_over_all_its_lines(world):
    """RFC 9110 7.6.3."""
    request = fields_seen(world, b"Via: 1.0 a\r\nVia: 1.1 b, 1.1 c\r\n")
    assert request.headers("Via") == ["1.0 a, 1.1 b, 1.1 c, 1.1 nearside (edge-1)"]
    assert fields_seen(world, b"", b"GET /a HTTP/1.0").headers("Via") == ["1.0 nearside (edge-1)"]


def test_a_request_that_comes_back_is_a_loop(world, make_proxy):
    """RFC 9110 7.6.3; RFC 9209 2.3.16."""
    case = world.case()
    with world.connect() as conn:
        conn.send(message(case, b"GET /a HTTP/1.1", H, b"Via: 1.1 x, 1.1 nearside (edge-1)\r\n"))
        answer = conn.read_response()
    assert answer.status == 508 and answer.error["code"] == "loop_detected"
    assert answer.header("Proxy-Status") == "nearside; error=proxy_loop_detected"
    assert world.origin.of(case) == []
    outer = make_proxy([region("near", f"http://127.0.0.1:{world.port}")], edge={"id": "outer"})
    assert outer.get("/chained").status == 200  # two edges in a row are none


def test_date_and_server_are_the_origins(world):
    """RFC 9110 6.6.1, 10.2.4."""
    case = world.case()
    world.origin.answers[f"/{case}"] = (
        HEAD + b"Date: Mon, 01 Jan 2001 00:00:00 GMT\r\nServer: x\r\nContent-Length: 0\r\n\r\n", True)
    answer = raw.one_request(world.port, "GET", f"/{case}")
    assert answer.headers("Date") == ["Mon, 01 Jan 2001 00:00:00 GMT"]
    assert answer.headers("Server") == ["x"]
    answer = raw.one_request(world.port, "GET", "/plain")
    assert len(answer.headers("Date")) == 1 and answer.headers("Server") == []


def test_a_request_id_cannot_split_the_answer(world):
    """RFC 9110 5.5: what is reflected is made of visible characters."""
    for value, kept in ((b"abc-1", True), (b"a b", False), (b"a\xc3\xa9", False), (b"a\"b", False),
                        (b"a" * 129, False)):
        case = world.case()
        with world.connect() as conn:
            conn.send(message(case, b"GET /a HTTP/1.1", H, b"X-Request-Id: " + value + b"\r\n"))
            answer = conn.read_response()
        assert (answer.header("X-Request-Id").encode("latin-1") == value) == kept
        [request] = world.origin.of(case)
        assert request.headers("X-Request-Id") == [answer.header("X-Request-Id")]


def test_the_edge_and_the_origin_have_counted_the_same(world):
    """Last: over all of the above, each whole attempt is one request at the origin."""
    metrics = world.proxy.metrics()
    started = metrics.value("nearside_requests_started_total")
    assert started == metrics.value("nearside_requests_finished_total")
    heads = [target for target in world.origin.targets if target != "/elsewhere"]
    whole = world.origin.count() - world.origin.targets.count("/elsewhere")
    attempts = metrics.value("nearside_attempt_outcomes_total")
    broken_off = metrics.value("nearside_attempt_outcomes_total", {"outcome": "client_gone"})
    assert len(heads) <= attempts
    assert attempts - broken_off <= whole <= attempts
