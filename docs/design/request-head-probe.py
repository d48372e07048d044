#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sends each odd request head to web servers and prints the table of docs/design/request-head.md.

    request-head-probe.py HOST:PORT...

Each server should have a file at / and nothing else. An answer is a status code; "wait": none within 1.5 s; "0.9": a body
without a head; "close" and "reset": the connection ended.
"""

import socket
import sys

GET = "GET / HTTP/1.1\r\n"
CASES = [
    ("one empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("three empty lines first", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bare LF line ends", "GET / HTTP/1.1\nHost: a\n\n"),
    ("bare LF as empty line", GET + "Host: a\r\n\n"),
    ("bare CR in a value", GET + "Host: a\r\nX: a\rb\r\n\r\n"),
    ("obs-fold", GET + "Host: a\r\nX: a\r\n b\r\n\r\n"),
    ("white space before colon", GET + "Host: a\r\nX : a\r\n\r\n"),
    ("NUL in a value", GET + "Host: a\r\nX: a\0b\r\n\r\n"),
    ("0x01 in a value", GET + "Host: a\r\nX: a\x01b\r\n\r\n"),
    ("DEL in a value", GET + "Host: a\r\nX: a\x7fb\r\n\r\n"),
    ("separator in a field name", GET + "Host: a\r\nX(: a\r\n\r\n"),
    ("empty field name", GET + "Host: a\r\n: a\r\n\r\n"),
    ("two spaces before target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces before version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("space after version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("fragment", "GET /#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("byte above 0x7f in target", "GET /?\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("GET *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no Host", GET + "\r\n"),
    ("two Hosts, equal", GET + "Host: a\r\nHost: a\r\n\r\n"),
    ("two Hosts, different", GET + "Host: a\r\nHost: b\r\n\r\n"),
    ("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("space in Host", GET + "Host: a b\r\n\r\n"),
    ("slash in Host", GET + "Host: a/b\r\n\r\n"),
    ("user in Host", GET + "Host: u@a\r\n\r\n"),
    ("Host against absolute target", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("user in absolute target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("equal Content-Lengths", GET + "Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    ("list of Content-Length", GET + "Host: a\r\nContent-Length: 0, 0\r\n\r\n"),
    ("different Content-Lengths", GET + "Host: a\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\nx"),
    ("signed Content-Length", GET + "Host: a\r\nContent-Length: +0\r\n\r\n"),
    ("Content-Length of 2^64", GET + "Host: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    ("Content-Length and chunked", GET + "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", GET + "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("gzip, chunked", GET + "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("identity", GET + "Host: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("HTTP/0.9", "GET /\r\n"),
    ("lower-case http", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    ("129 fields", GET + "Host: a\r\n" + "X: y\r\n" * 128 + "\r\n"),
    ("8193-byte target", "GET /?" + "a" * 8191 + " HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("head above 16384 bytes", GET + "Host: a\r\n" + ("X: " + "y" * 4000 + "\r\n") * 4 + "Z: " + "z" * 400 + "\r\n\r\n"),
]


def ask(host, port, data):
    with socket.create_connection((host, port)) as client:
        client.settimeout(1.5)
        try:
            client.sendall(data)
            answer = client.recv(65536)
        except socket.timeout:
            return "wait"
        except OSError:
            return "reset"
    if not answer:
        return "close"
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/") else "0.9"


servers = [argument.rsplit(":", 1) for argument in sys.argv[1:]]
if not servers:
    sys.exit("usage: request-head-probe.py HOST:PORT...")
for name, head in CASES:
    answers = [ask(host, int(port), head.encode("latin-1")) for host, port in servers]
    print("|", name, "|", " | ".join(answers), "|")
