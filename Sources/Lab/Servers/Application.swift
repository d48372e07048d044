// SPDX-License-Identifier: Apache-2.0

/// The application behind each web server's `/app/`: what static files cannot show.
///
/// - `GET /app/hello` answers `hello`.
/// - `GET /app/slow` answers the same 1.5 s later: longer than a sender that knows no round-trip time waits.
/// - `POST` or `PUT /app/digest` answers the body's length and SHA-256, for bodies with a length or chunked.
/// - `GET /app/ws` with an upgrade request becomes a WebSocket (RFC 6455) that echoes text and binary messages.
///
/// It needs nothing but Debian's Python.
enum Application {
  static func command(script: String, port: UInt16) -> [String] { ["/usr/bin/python3", script, "\(port)"] }

  static let script = #"""
    import asyncio, base64, hashlib, sys

    GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    async def body(reader, headers):
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            while True:
                size = int((await reader.readline()).split(b";")[0], 16)
                left = size
                while left:
                    data = await reader.read(min(left, 1 << 18))
                    if not data:
                        raise EOFError
                    left -= len(data)
                    yield data
                await reader.readline()
                if size == 0:
                    return
        else:
            left = int(headers.get(b"content-length", b"0"))
            while left:
                data = await reader.read(min(left, 1 << 18))
                if not data:
                    raise EOFError
                left -= len(data)
                yield data

    def answer(writer, status, text, head=b""):
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n%s\r\n%s"
                     % (status, len(text), head, text))

    async def echo(reader, writer, headers):
        key = headers.get(b"sec-websocket-key", b"")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            first, second = await reader.readexactly(2)
            length = second & 127
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8), "big")
            mask = await reader.readexactly(4) if second & 128 else bytes(4)
            data = await reader.readexactly(length)
            data = bytes(b ^ mask[i & 3] for i, b in enumerate(data))
            opcode = first & 15
            if opcode == 9:
                first = 0x8a
            size = bytes([length]) if length < 126 else (
                b"\x7e" + length.to_bytes(2, "big") if length < 65536 else b"\x7f" + length.to_bytes(8, "big"))
            writer.write(bytes([first]) + size + data)
            await writer.drain()
            if opcode == 8:
                return

    async def serve(reader, writer):
        try:
            while True:
                request = (await reader.readline()).split()
                if len(request) != 3:
                    return
                headers = {}
                while True:
                    line = (await reader.readline()).rstrip(b"\r\n")
                    if not line:
                        break
                    name, _, value = line.partition(b":")
                    headers[name.lower()] = value.strip()
                method, path = request[0], request[1].split(b"?")[0]
                if path == b"/app/ws" and headers.get(b"upgrade", b"").lower() == b"websocket":
                    return await echo(reader, writer, headers)
                if headers.get(b"expect", b"").lower() == b"100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                digest, length = hashlib.sha256(), 0
                async for data in body(reader, headers):
                    digest.update(data)
                    length += len(data)
                if path == b"/app/digest" and method in (b"POST", b"PUT"):
                    answer(writer, b"200 OK", b"%d %s\n" % (length, digest.hexdigest().encode()))
                elif path in (b"/app/hello", b"/app/slow"):
                    if path == b"/app/slow":
                        await asyncio.sleep(1.5)
                    answer(writer, b"200 OK", b"hello\n")
                else:
                    answer(writer, b"404 Not Found", b"nothing here\n")
                await writer.drain()
                if request[2] == b"HTTP/1.0" or headers.get(b"connection", b"").lower() == b"close":
                    return
        except (EOFError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
        await server.serve_forever()

    asyncio.run(main())

    """#
}
