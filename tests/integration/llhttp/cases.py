# SPDX-License-Identifier: MIT
"""Thousands of messages, good and bad: every byte in every place where one parser may think
otherwise than another, the framing fields in all their disguises, and what fuzzers and published
attacks have found. A case is (name, kind, bytes); kind: "q" requests, "s" responses to a GET."""
import os

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BYTES = [bytes([number]) for number in range(256)]
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def request(line=b"POST /a HTTP/1.1", fields=(), body=b"", host=b"Host: a\r\n", more=NEXT):
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + \
        body + more


def response(line=b"HTTP/1.1 200 OK", fields=(), body=b"", more=NEXT_ANSWER):
    return line + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body + more


def both(name, fields, body):
    """The same fields on a request and on a response."""
    return [(f"{name} in a request", "q", request(fields=fields, body=body)),
            (f"{name} in a response", "s", response(fields=fields, body=body))]


# ---- bytes in every place ----

def bytes_in_places():
    places = [
        ("q", "method", lambda b: request(line=b"GE" + b + b"T /a HTTP/1.1")),
        ("q", "before the method", lambda b: b + request(line=b"GET /a HTTP/1.1")),
        ("q", "after the method", lambda b: request(line=b"GET" + b + b"/a HTTP/1.1")),
        ("q", "two after the method", lambda b: request(line=b"GET " + b + b"/a HTTP/1.1")),
        ("q", "target", lambda b: request(line=b"GET /a" + b + b"c HTTP/1.1")),
        ("q", "query", lambda b: request(line=b"GET /a?b=" + b + b"c HTTP/1.1")),
        ("q", "escape", lambda b: request(line=b"GET /a%4" + b + b" HTTP/1.1")),
        ("q", "before the version", lambda b: request(line=b"GET /a" + b + b"HTTP/1.1")),
        ("q", "two before the version", lambda b: request(line=b"GET /a " + b + b"HTTP/1.1")),
        ("q", "major version", lambda b: request(line=b"GET /a HTTP/" + b + b".1")),
        ("q", "minor version", lambda b: request(line=b"GET /a HTTP/1." + b)),
        ("q", "dot of the version", lambda b: request(line=b"GET /a HTTP/1" + b + b"1")),
        ("q", "after the version", lambda b: request(line=b"GET /a HTTP/1.1" + b)),
        ("q", "line end", lambda b: request(line=b"GET /a HTTP/1.1" + b + b"\n")),
        ("q", "host", lambda b: request(line=b"GET /a HTTP/1.1", host=b"Host: a" + b + b"c\r\n")),
        ("s", "protocol", lambda b: response(line=b"HTT" + b + b"/1.1 200 OK")),
        ("s", "before the status line", lambda b: b + response()),
        ("s", "major version", lambda b: response(line=b"HTTP/" + b + b".1 200 OK")),
        ("s", "minor version", lambda b: response(line=b"HTTP/1." + b + b" 200 OK")),
        ("s", "before the status", lambda b: response(line=b"HTTP/1.1" + b + b"204 OK")),
        ("s", "status, 1st digit", lambda b: response(line=b"HTTP/1.1 " + b + b"04 OK")),
        ("s", "status, last digit", lambda b: response(line=b"HTTP/1.1 20" + b + b" OK",
                                                       fields=[b"Content-Length: 0"])),
        ("s", "after the status", lambda b: response(line=b"HTTP/1.1 204" + b + b"OK")),
        ("s", "reason", lambda b: response(line=b"HTTP/1.1 204 N" + b + b"o")),
        ("s", "after the reason", lambda b: response(line=b"HTTP/1.1 204 No" + b)),
    ]
    shared = [
        ("start of a name", lambda b: (b + b"X: 1",)),
        ("name", lambda b: (b"X" + b + b"Y: 1",)),
        ("end of a name", lambda b: (b"X-Y" + b + b": 1",)),
        ("after the colon", lambda b: (b"X:" + b + b"1",)),
        ("value", lambda b: (b"X: a" + b + b"b",)),
        ("end of a value", lambda b: (b"X: ab" + b,)),
        ("before a value's CR LF", lambda b: (b"X: ab\r" + b,)),
        ("start of Content-Length", lambda b: (b"Content-Length: " + b + b"5",)),
        ("Content-Length", lambda b: (b"Content-Length: 0" + b + b"5",)),
        ("end of Content-Length", lambda b: (b"Content-Length: 5" + b,)),
        ("name of Content-Length", lambda b: (b"Content" + b + b"Length: 5",)),
        ("end of the name Content-Length", lambda b: (b"Content-Length" + b + b": 5",)),
        ("start of Transfer-Encoding", lambda b: (b"Transfer-Encoding: " + b + b"chunked",)),
        ("end of Transfer-Encoding", lambda b: (b"Transfer-Encoding: chunked" + b,)),
        ("name of Transfer-Encoding", lambda b: (b"Transfer" + b + b"Encoding: chunked",)),
        ("end of the name Transfer-Encoding", lambda b: (b"Transfer-Encoding" + b + b": chunked",)),
    ]
    for kind, place, make in places:
        for byte in BYTES:
            yield f"{byte!r} in {place}", kind, make(byte)
    for place, make in shared:
        body = CHUNKED if "Encoding" in place else b"hello" if "Length" in place else b""
        for byte in BYTES:
            yield from both(f"{byte!r} in {place}", make(byte), body)


def bytes_in_chunks():
    places = [
        ("start of a size", lambda b: b + b"5\r\nhello\r\n0\r\n\r\n"),
        ("end of a size", lambda b: b"5" + b + b"\r\nhello\r\n0\r\n\r\n"),
        ("in a size", lambda b: b"0" + b + b"5\r\nhello\r\n0\r\n\r\n"),
        ("size's line end", lambda b: b"5\r" + b + b"hello\r\n0\r\n\r\n"),
        ("size's CR", lambda b: b"5" + b + b"\nhello\r\n0\r\n\r\n"),
        ("name of an extension", lambda b: b"5;a" + b + b"b=1\r\nhello\r\n0\r\n\r\n"),
        ("start of an extension", lambda b: b"5;" + b + b"a=1\r\nhello\r\n0\r\n\r\n"),
        ("before an extension", lambda b: b"5" + b + b";a=1\r\nhello\r\n0\r\n\r\n"),
        ("value of an extension", lambda b: b"5;a=b" + b + b"c\r\nhello\r\n0\r\n\r\n"),
        ("start of an extension's value", lambda b: b"5;a=" + b + b"c\r\nhello\r\n0\r\n\r\n"),
        ("end of an extension", lambda b: b"5;a=b" + b + b"\r\nhello\r\n0\r\n\r\n"),
        ("quoted value", lambda b: b'5;a="b' + b + b'c"\r\nhello\r\n0\r\n\r\n'),
        ("escape in a quoted value", lambda b: b'5;a="b\\' + b + b'c"\r\nhello\r\n0\r\n\r\n'),
        ("after a quoted value", lambda b: b'5;a="b"' + b + b'\r\nhello\r\n0\r\n\r\n'),
        ("after the data", lambda b: b"5\r\nhello" + b + b"\n0\r\n\r\n"),
        ("data's line end", lambda b: b"5\r\nhello\r" + b + b"0\r\n\r\n"),
        ("in the data", lambda b: b"5\r\nhe" + b + b"lo\r\n0\r\n\r\n"),
        ("end of the last size", lambda b: b"5\r\nhello\r\n0" + b + b"\r\n\r\n"),
        ("start of a trailer's name", lambda b: b"5\r\nhello\r\n0\r\n" + b + b"X: 1\r\n\r\n"),
        ("trailer's name", lambda b: b"5\r\nhello\r\n0\r\nX" + b + b"Y: 1\r\n\r\n"),
        ("end of a trailer's name", lambda b: b"5\r\nhello\r\n0\r\nX-Y" + b + b": 1\r\n\r\n"),
        ("trailer's value", lambda b: b"5\r\nhello\r\n0\r\nX: a" + b + b"b\r\n\r\n"),
        ("trailer's line end", lambda b: b"5\r\nhello\r\n0\r\nX: ab\r" + b + b"\r\n"),
        ("last line end", lambda b: b"5\r\nhello\r\n0\r\n\r" + b),
    ]
    for place, make in places:
        for byte in BYTES:
            yield from both(f"{byte!r} in chunks: {place}", [b"Transfer-Encoding: chunked"],
                            make(byte))


# ---- framing in all its disguises ----

LENGTHS = [
    b"5", b"05", b"0000000005", b"+5", b"-5", b"5 ", b" 5", b"5\t", b"5,5", b"5, 5", b"5,6", b"5;",
    b"0x5", b"5.0", b"5e0", b"", b" ", b"five", b"5 5", b"5\x0b", b"\x0c5", b"5_0", b"\xb2",
    b"18446744073709551615", b"18446744073709551616", b"18446744073709551621",
    b"9223372036854775807", b"9223372036854775808", b"4294967301", b"99999999999999999999999",
    b"5\x00", b"\x005", b"5#", b"5/", b"5:", b"(5)", b"\"5\"", b"'5'", b"5, ", b",5", b"5,,5",
]
ENCODINGS = [
    b"chunked", b"Chunked", b"CHUNKED", b"chunked ", b" chunked", b"\tchunked", b"chunked\t",
    b"chunked,", b",chunked", b", chunked", b"chunked, chunked", b"chunked,chunked",
    b"chunked, identity", b"identity, chunked", b"identity", b"gzip", b"gzip, chunked",
    b"chunked, gzip", b"deflate, chunked", b"x-chunked", b"chunkedx", b"xchunked", b"chunke",
    b"chunk", b"chunked;q=1", b"chunked; q=0.5", b"chunked foo", b"foo chunked", b"\"chunked\"",
    b"'chunked'", b"chunked\x0b", b"\x0bchunked", b"chunked\x00", b"chu\x00nked", b"chunked\x7f",
    b"", b" ", b"cow", b"chun ked", b"chunk\xc4\x97d", b"chunked/1", b"chunked=", b"=chunked",
    b"trailers", b"gzip;q=1, chunked", b"chunked\xa0", b"\xa0chunked", b"[chunked]",
]
NAMES = [
    b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"Transfer_Encoding",
    b"Transfer Encoding", b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer-Encoding\t",
    b"\tTransfer-Encoding", b"Transfer\r-Encoding", b"Transfer-Encoding\x00", b"Transfer-Enc\x00",
    b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"Transfer-Encodin\xc7\xa5",
    b"Transfer--Encoding", b"Transfer-Encoding:", b":Transfer-Encoding", b"\"Transfer-Encoding\"",
]


def framings():
    for value in LENGTHS:
        yield from both(f"Content-Length {value!r}", [b"Content-Length: " + value], b"hello")
        yield from both(f"Content-Length without a blank {value!r}", [b"Content-Length:" + value],
                        b"hello")
        for second in (b"5", b"6", b"0", value):
            pair = [b"Content-Length: " + value, b"Content-Length: " + second]
            yield from both(f"Content-Length {value!r} and {second!r}", pair, b"hello")
        mixed = [b"Content-Length: " + value, b"Transfer-Encoding: chunked"]
        yield from both(f"Content-Length {value!r} and chunked", mixed, CHUNKED)
        yield from both(f"chunked and Content-Length {value!r}", mixed[::-1], CHUNKED)
    for value in ENCODINGS:
        yield from both(f"Transfer-Encoding {value!r}", [b"Transfer-Encoding: " + value], CHUNKED)
        yield from both(f"Transfer-Encoding {value!r} and a length",
                        [b"Transfer-Encoding: " + value, b"Content-Length: 5"], CHUNKED)
        yield from both(f"a length and Transfer-Encoding {value!r}",
                        [b"Content-Length: 5", b"Transfer-Encoding: " + value], CHUNKED)
        for second in (b"chunked", b"identity", value):
            pair = [b"Transfer-Encoding: " + value, b"Transfer-Encoding: " + second]
            yield from both(f"Transfer-Encoding {value!r} and {second!r}", pair, CHUNKED)
        yield (f"Transfer-Encoding {value!r} in HTTP/1.0", "q",
               request(line=b"POST /a HTTP/1.0", body=CHUNKED,
                       fields=[b"Transfer-Encoding: " + value, b"Connection: keep-alive"]))
        yield (f"Transfer-Encoding {value!r} in an HTTP/1.0 response", "s",
               response(line=b"HTTP/1.0 200 OK", body=CHUNKED, more=b"",
                        fields=[b"Transfer-Encoding: " + value]))
    for name in NAMES:
        yield from both(f"the name {name!r}", [name + b": chunked"], CHUNKED)
        yield from both(f"the name {name!r} and a length", [name + b": chunked",
                                                           b"Content-Length: 5"], CHUNKED)
        lines = [name.replace(b"Transfer-Encoding", b"Content-Length") + b": 5"]
        yield from both(f"the name {name!r} for a length", lines, b"hello")


def line_ends():
    ends = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r", b"\x0b", b"\x0c", b"\x85",
            b"\xe2\x80\xa8", b"\r\n ", b"\r\n\t", b"\n ", b" \r\n", b"\t\r\n", b"\r \n", b"\x00\r\n"]
    for end in ends:
        yield f"{end!r} ends the request line", "q", b"GET /a HTTP/1.1" + end + \
            b"Host: a\r\n\r\n" + NEXT
        yield f"{end!r} ends a field of a request", "q", b"GET /a HTTP/1.1\r\nHost: a" + end + \
            b"X: y\r\n\r\n" + NEXT
        yield f"{end!r} ends the head of a request", "q", b"GET /a HTTP/1.1\r\nHost: a\r\n" + end + \
            NEXT
        yield f"{end!r} ends the status line", "s", b"HTTP/1.1 204 No" + end + b"X: y\r\n\r\n" + \
            NEXT_ANSWER
        yield f"{end!r} ends a field of a response", "s", b"HTTP/1.1 204 No\r\nX: a" + end + \
            b"X: y\r\n\r\n" + NEXT_ANSWER
        yield f"{end!r} ends the head of a response", "s", b"HTTP/1.1 204 No\r\nX: y\r\n" + end + \
            NEXT_ANSWER
        for place, body in (("a size", b"5" + end + b"hello\r\n0\r\n\r\n"),
                            ("data", b"5\r\nhello" + end + b"0\r\n\r\n"),
                            ("the last size", b"5\r\nhello\r\n0" + end + b"\r\n"),
                            ("a trailer", b"5\r\nhello\r\n0\r\nX: y" + end + b"\r\n"),
                            ("the chunks", b"5\r\nhello\r\n0\r\n" + end)):
            yield from both(f"{end!r} ends {place}", [b"Transfer-Encoding: chunked"], body)
        for before in (1, 2, 3):
            yield f"{before} {end!r} before a request", "q", end * before + request(
                line=b"GET /a HTTP/1.1")
            yield f"{before} {end!r} before a response", "s", end * before + response(
                line=b"HTTP/1.1 204 No")


CHUNK_SIZES = [
    b"5", b"05", b"0000000000000005", b"00000000000000005", b"0x5", b"5h", b"+5", b"-5", b"5 ",
    b" 5", b"5\t", b"\t5", b"", b"g", b"5.", b"5,", b"ffffffffffffffff", b"fffffffffffffffff",
    b"10000000000000005", b"8000000000000005", b"7fffffffffffffff", b"100000005", b"00", b"5\x00",
    b"5;", b"5;a", b"5;a=b", b"5;a=\"b\"", b"5; a", b"5 ;a", b"5 ; a = b", b"5;a=b;c=d", b"5;;",
    b"5;a=\"b;c\"", b"5;a=\"b\\\"c\"", b"5;a=\"b", b"5;\"a\"", b"5;a b", b"5\r;a", b"5;a\n", b"5;a\r",
    b"5;=", b"5;=b", b"5;a=", b"5;a==b", b"5:a", b"5\x0b", b"\xef\xbc\x95", b"5;\xc3\xa9",
]


def chunk_sizes():
    for size in CHUNK_SIZES:
        for name, body in (("", size + b"\r\nhello\r\n0\r\n\r\n"),
                           ("last ", b"5\r\nhello\r\n" + size.replace(b"5", b"0") + b"\r\n\r\n"),
                           ("second ", b"1\r\nh\r\n" + size + b"\r\nhello\r\n0\r\n\r\n")):
            yield from both(f"{name}chunk size {size!r}", [b"Transfer-Encoding: chunked"], body)


# ---- lines ----

LINES = [
    b"GET /", b"GET / ", b"GET", b"", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ",
    b" GET / HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET / HTTP/1.1\t",
    b"GET / HTTP/0.9", b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"GET / HTTP/1.9", b"GET / HTTP/2.0",
    b"GET / HTTP/3.0", b"GET / HTTP/1.10", b"GET / HTTP/01.1", b"GET / HTTP/1", b"GET / HTTP/1.",
    b"GET / HTTP/.1", b"GET / HTTP/11", b"GET / http/1.1", b"GET / Http/1.1", b"GET / HTTPS/1.1",
    b"GET / HTTP /1.1", b"GET / HTTP/ 1.1", b"GET / HTTP/1 .1", b"GET / HTTP/1.1 HTTP/1.1",
    b"GET / /b HTTP/1.1", b"GET /a b HTTP/1.1", b"GET a HTTP/1.1", b"GET ?a HTTP/1.1",
    b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"OPTIONS *a HTTP/1.1", b"GET // HTTP/1.1",
    b"GET /# HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET /a?b#c HTTP/1.1", b"GET /% HTTP/1.1",
    b"GET /%4 HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /%00 HTTP/1.1", b"GET /%0d%0a HTTP/1.1",
    b"GET /../ HTTP/1.1", b"GET /..%2f HTTP/1.1", b"GET /\\ HTTP/1.1", b"GET /a|b HTTP/1.1",
    b"GET /a{b} HTTP/1.1", b"GET /a\"b HTTP/1.1", b"GET /a<b> HTTP/1.1", b"GET /a^b HTTP/1.1",
    b"GET /a`b HTTP/1.1", b"GET /a\x80 HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b"get / HTTP/1.1",
    b"G=T / HTTP/1.1", b"GE:T / HTTP/1.1", b"G\x00T / HTTP/1.1", b"\"GET\" / HTTP/1.1",
    b"PRI * HTTP/2.0", b"PUT / HTTP/1.1", b"DELETE / HTTP/1.1", b"PATCH / HTTP/1.1",
    b"HEAD / HTTP/1.1", b"OPTIONS / HTTP/1.1", b"PROPFIND / HTTP/1.1", b"M-SEARCH / HTTP/1.1",
    b"GET http://a/ HTTP/1.1", b"GET http://a HTTP/1.1", b"GET HTTP://a/ HTTP/1.1",
    b"GET https://a/ HTTP/1.1", b"GET http://b/ HTTP/1.1", b"GET http://u@a/ HTTP/1.1",
    b"GET http://u:p@a/ HTTP/1.1", b"GET http://a:80/ HTTP/1.1", b"GET http://a?b HTTP/1.1",
    b"GET http://a/#b HTTP/1.1", b"GET http:///b HTTP/1.1", b"GET http:/b HTTP/1.1",
    b"GET http:b HTTP/1.1", b"GET ftp://a/ HTTP/1.1", b"GET a://b/ HTTP/1.1", b"GET //a/ HTTP/1.1",
    b"GET http://[::1]/ HTTP/1.1", b"GET http://a b/ HTTP/1.1", b"GET http://a%41/ HTTP/1.1",
    b"GET http://a:b/ HTTP/1.1", b"GET http://a:99999/ HTTP/1.1", b"GET http://a\\b/ HTTP/1.1",
    b"CONNECT a:443 HTTP/1.1", b"CONNECT a HTTP/1.1", b"CONNECT /a HTTP/1.1",
    b"CONNECT a:443/ HTTP/1.1", b"CONNECT u@a:443 HTTP/1.1", b"TRACE / HTTP/1.1",
    b"GET /" + b"a" * 4000 + b" HTTP/1.1",
]
STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1 200  OK",
    b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b" HTTP/1.1 200 OK", b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK", b"HTTP/1.1 2OO OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 099 No",
    b"HTTP/1.1 000 No", b"HTTP/1.1 600 No", b"HTTP/1.1 999 No", b"HTTP/1.1 OK", b"HTTP/1.1",
    b"HTTP/1.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.2 200 OK", b"HTTP/2 200 OK",
    b"HTTP/2.0 200 OK", b"HTTP/1.10 200 OK", b"http/1.1 200 OK", b"HTTP 200 OK", b"ICY 200 OK",
    b"RTSP/1.0 200 OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 \xff",
    b"HTTP/1.1 200 \tOK", b"HTTP/1.1 200 OK\t", b"HTTP/1.1 204 None", b"HTTP/1.1 304 Same",
    b"HTTP/1.1 205 Reset", b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Hints", b"HTTP/1.1 529 Full",
    b"HTTP/1.1 500 " + b"a" * 2000, b"<html>", b"", b"200 OK",
]


def start_lines():
    for line in LINES:
        yield f"the line {line[:40]!r}", "q", request(line=line)
        yield f"the line {line[:40]!r} with a length", "q", request(
            line=line, fields=[b"Content-Length: 5"], body=b"hello")
        yield f"the line {line[:40]!r} and chunks", "q", request(
            line=line, fields=[b"Transfer-Encoding: chunked"], body=CHUNKED)
        yield f"the line {line[:40]!r} and an end", "q", request(
            line=line, fields=[b"Connection: close"], more=b"")
    for line in STATUS_LINES:
        yield f"the line {line[:40]!r}", "s", response(line=line, more=b"rest")
        yield f"the line {line[:40]!r} with a length", "s", response(
            line=line, fields=[b"Content-Length: 5"], body=b"hello")
        yield f"the line {line[:40]!r} with length 0", "s", response(
            line=line, fields=[b"Content-Length: 0"])
        yield f"the line {line[:40]!r} and chunks", "s", response(
            line=line, fields=[b"Transfer-Encoding: chunked"], body=CHUNKED)


FIELDS = [
    b"X", b"X:", b"X: ", b":", b": y", b" X: y", b"\tX: y", b"X : y", b"X\t: y", b"X:y", b"X:\ty",
    b"X: y ", b"X:  y  ", b"X: y\t", b"X:: y", b"X y", b"X y: z", b"X\x00: y", b"X: \x00", b"X: \x01",
    b"X: \x7f", b"X: \x80", b"X: \xff", b"X\x80: y", b"X: a\x0bb", b"X: a\x0cb", b"(X): y",
    b"X/Y: z", b"X@Y: z", b"X[0]: z", b"{X}: y", b"\"X\": y", b"X=Y: z", b"X;Y: z", b"X,Y: z",
    b"X?Y: z", b"X<Y: z", b"X\\Y: z", b"X'Y: z", b"X.Y: z", b"X|Y: z", b"X~Y: z", b"X`Y: z",
    b"X_Y: z", b"X!Y: z", b"X#Y: z", b"X$Y: z", b"X%Y: z", b"X&Y: z", b"X*Y: z", b"X+Y: z",
    b"X^Y: z", b"1: 2", b"X: " + b"y" * 5000, b"X" * 2000 + b": y", b"X: y\r\n z", b"X: y\r\n\tz",
    b"X: y\r\n  ", b"X: y\r\n : z", b"X:\r\n y", b"X\r\n : y", b"X: y\r\n\r\n z",
    b"Connection: close", b"Connection: keep-alive", b"Connection: close, keep-alive",
    b"Connection: x", b"Connection:", b"Connection: keep-alive, close", b"Connection: CLOSE",
    b"Connection: closed", b"Connection: close\r\nConnection: keep-alive", b"Connection: ,close",
    b"Connection: \"close\"", b"Proxy-Connection: close", b"Keep-Alive: timeout=5",
    b"Connection: content-length", b"Connection: transfer-encoding", b"Connection: host",
    b"Expect: 100-continue", b"Expect: 200-ok", b"Expect: 100-continue\r\nExpect: 100-continue",
    b"Host: b", b"Host: a", b"Host:", b"Host: a b", b"Host: a,b", b"Host: a/b", b"Host: u@a",
    b"Host: a:80", b"Host: a:", b"Host: a:b", b"Host: a:99999", b"Host: [::1]", b"Host: [::1",
    b"Host: a#b", b"Host: a?b", b"Host: a\\b", b"Host: \xc3\xa9", b"Host: a%41", b"Host: ..",
    b"TE: trailers", b"TE: gzip", b"Trailer: X", b"Upgrade: websocket", b"Upgrade: h2c",
    b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: upgrade\r\nUpgrade: h2c",
    b"Via: 1.1 x", b"Date: x", b"Set-Cookie: a=b\r\nSet-Cookie: c=d",
]


def fields():
    for field in FIELDS:
        bare = b"" if field.lower().startswith(b"host") else b"Host: a\r\n"
        for name, line, body, more in (
                ("", b"GET /a HTTP/1.1", b"", []),
                (" with a length", b"POST /a HTTP/1.1", b"hello", [b"Content-Length: 5"]),
                (" and chunks", b"POST /a HTTP/1.1", CHUNKED, [b"Transfer-Encoding: chunked"]),
                (" in HTTP/1.0", b"GET /a HTTP/1.0", b"", [])):
            yield f"the field {field[:40]!r}{name}", "q", request(
                line=line, fields=[field] + more, body=body, host=bare)
            yield f"the field {field[:40]!r} last{name}", "q", request(
                line=line, fields=more + [field], body=body, host=bare)
        yield f"the field {field[:40]!r} beside Host", "q", request(line=b"GET /a HTTP/1.1",
                                                                    fields=[field])
        for name, body, more in (
                (" with a length", b"hello", [b"Content-Length: 5"]),
                (" and chunks", CHUNKED, [b"Transfer-Encoding: chunked"]),
                (" and no framing", b"hello", [])):
            yield f"the field {field[:40]!r} of a response{name}", "s", response(
                fields=[field] + more, body=body, more=b"" if not more else NEXT_ANSWER)
            yield f"the field {field[:40]!r} of an HTTP/1.0 response{name}", "s", response(
                line=b"HTTP/1.0 200 OK", fields=[field] + more, body=body, more=b"")


# ---- what others found ----

PUBLISHED = [
    # PortSwigger, "HTTP Desync Attacks" (2019)
    request(fields=[b"Content-Length: 6", b"Transfer-Encoding: chunked"], body=b"0\r\n\r\nG"),
    request(fields=[b"Content-Length: 3", b"Transfer-Encoding: chunked"],
            body=b"8\r\nSMUGGLED\r\n0\r\n\r\n"),
    request(fields=[b"Content-Length: 4", b"Transfer-Encoding: chunked", b"Transfer-encoding: cow"],
            body=b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
    request(fields=[b"Foo: bar\r\n Transfer-Encoding: chunked", b"Content-Length: 5"], body=b"hello"),
    request(fields=[b"Transfer-Encoding\r\n : chunked"], body=CHUNKED),
    request(fields=[b"X: X[\\n]Transfer-Encoding: chunked"], body=b""),
    # "Browser-Powered Desync" (2022): bodies where none is expected
    request(line=b"GET / HTTP/1.1", fields=[b"Content-Length: 31"], body=NEXT[:31]),
    request(line=b"HEAD / HTTP/1.1", fields=[b"Content-Length: 31"], body=NEXT[:31]),
    # llhttp CVE-2021-22959, -22960, CVE-2022-32213, -32214, -32215, CVE-2023-30589
    request(fields=[b"Content-Length : 5"], body=b"hello"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5;ext\nhello\r\n0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunkedchunked"], body=CHUNKED),
    request(fields=[b"Transfer-Encoding: chunked , identity"], body=CHUNKED),
    request(fields=[b"X: y\rContent-Length: 5"], body=b"hello"),
    request(fields=[b"Dummy: x\nContent-Length: 31"], body=NEXT[:31]),
    request(fields=[b"Transfer-Encoding: identity,\r\n chunked"], body=CHUNKED),
    # The HTTP Garden (2024): sizes and extensions that readers differ about
    request(fields=[b"Transfer-Encoding: chunked"], body=b"2\r\r;a\r\n02\r\n2d\r\n0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5\r\nhello\r\n-0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"0_5\r\nhello\r\n0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    # "Funky chunks" (2025): terminators within extensions, and two bytes after the data
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5;\nxxhello\r\n0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5\r\nhelloXX0\r\n\r\n"),
    request(fields=[b"Transfer-Encoding: chunked"], body=b"5\r\nhello0\r\n\r\n"),
    # "HTTP/1.1 must die" (2025): expect
    request(fields=[b"Expect: 100-continue", b"Content-Length: 5"], body=b"hello"),
    request(fields=[b"Expect: y 100-continue", b"Content-Length: 5"], body=b"hello"),
    request(line=b"GET / HTTP/1.1", fields=[b"Expect: 100-continue"]),
    # the end of a response taken for the next one
    response(line=b"HTTP/1.1 204 None", fields=[b"Content-Length: 27"], body=NEXT_ANSWER, more=b""),
    response(line=b"HTTP/1.1 304 Same", fields=[b"Content-Length: 27"], body=NEXT_ANSWER, more=b""),
    response(line=b"HTTP/1.1 103 Hints", fields=[b"Content-Length: 27"], more=NEXT_ANSWER),
    response(line=b"HTTP/1.1 204 None", fields=[b"Transfer-Encoding: chunked"], body=CHUNKED),
]


def published():
    for index, data in enumerate(PUBLISHED):
        yield f"published {index}", "s" if data.startswith(b"HTTP/") else "q", data


def corpora():
    """The fuzzers' seeds and findings. A response's first byte is the request's method there."""
    for folder, kind, skip in (("fuzz_h1_request", "q", 0), ("fuzz_h1_response", "s", 1),
                               ("fuzz_chunked", "q", 1)):
        path = os.path.join(TOP, "tests/corpus", folder)
        for name in sorted(os.listdir(path)):
            with open(os.path.join(path, name), "rb") as file:
                data = file.read()[skip:]
            if folder == "fuzz_chunked":
                data = request(fields=[b"Transfer-Encoding: chunked"], body=data)
            yield f"{folder}/{name}", kind, data


REAL = [
    ("curl", "q", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
     b"User-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
     b"Content-Length: 5\r\n\r\nhello"),
    ("OpenAI SDK for Python", "q", b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.test\r\n"
     b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n"
     b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.51.0\r\n"
     b"X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 1.51.0\r\nX-Stainless-OS: Linux\r\n"
     b"X-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
     b"X-Stainless-Runtime-Version: 3.11.2\r\nAuthorization: Bearer sk-x\r\n"
     b"X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nContent-Length: 5\r\n\r\nhello"),
    ("fetch of Node", "q", b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.test\r\n"
     b"connection: keep-alive\r\ncontent-type: application/json\r\naccept: */*\r\n"
     b"accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\n"
     b"accept-encoding: gzip, deflate\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED),
    ("Go", "q", b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.test\r\n"
     b"User-Agent: Go-http-client/1.1\r\nTransfer-Encoding: chunked\r\n"
     b"Accept-Encoding: gzip\r\n\r\n" + CHUNKED),
    ("Go's server, HEAD by GET", "s", b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n"
     b"Content-Length: 5\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello"),
    ("uvicorn", "s", b"HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
     b"content-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
     + CHUNKED),
    ("llama.cpp", "s", b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\n"
     b"Access-Control-Allow-Origin: \r\nContent-Type: text/event-stream\r\n"
     b"Server: llama.cpp\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED),
    ("Triton", "s", b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
     b"Content-Length: 5\r\n\r\nhello"),
    ("Node's server", "s", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
     b"Date: Mon, 23 Nov 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n"
     b"Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED),
    ("aiohttp", "s", b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
     b"Content-Length: 5\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n"
     b"Server: Python/3.11 aiohttp/3.8.4\r\n\r\nhello"),
    ("http.server of Python", "s", b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\n"
     b"Date: Mon, 23 Nov 2026 00:00:00 GMT\r\n\r\nhello"),
]


def all_cases():
    """Without repetitions, in a fixed order."""
    seen = set()
    cases = []
    for make in (bytes_in_places, bytes_in_chunks, framings, line_ends, chunk_sizes, start_lines,
                 fields, published, corpora):
        for name, kind, data in make():
            if (kind, data) not in seen:
                seen.add((kind, data))
                cases.append((name, kind, data))
    return cases + REAL
