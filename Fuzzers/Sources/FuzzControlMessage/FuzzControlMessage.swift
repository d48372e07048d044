// SPDX-License-Identifier: Apache-2.0

import CLibFuzzer
import ControlProtocol
import Glibc

/// Any bytes as what a peer sends: frames one behind the other. Law: a message that is taken is encoded to the bytes that
/// it came from, so nothing that a peer says has two meanings.
@main
struct FuzzControlMessage {
  static func main() {
    var count = CommandLine.argc
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
    // SAFETY: both variables live as long as the call; libFuzzer gives `size` readable bytes for each call of `fuzz`.
    let status = unsafe LLVMFuzzerRunDriver(&count, &arguments) { data, size in
      unsafe fuzz(Span(_unsafeElements: UnsafeBufferPointer(start: data, count: size)))
      return 0
    }
    exit(status)
  }
}

private func fuzz(_ bytes: Span<UInt8>) {
  var offset = 0
  while let length = frameLength(bytes, offset) {
    check(bytes.extracting(offset..<offset + length))
    offset += length
  }
}

/// The length of the whole frame at `offset`; nil when it is incomplete or refused, where the connection ends.
private func frameLength(_ bytes: Span<UInt8>, _ offset: Int) -> Int? {
  do throws(ControlProtocolError) {
    guard let header = try FrameHeader.parse(bytes, at: offset), bytes.count - offset >= header.frameLength else {
      return nil
    }
    return header.frameLength
  } catch {
    return nil
  }
}

private func check(_ frame: Span<UInt8>) {
  guard let message = decode(frame) else { return }
  var encoded: [UInt8] = []
  message.encode(into: &encoded)
  precondition(decode(encoded.span) == message, "decode(encode(x)) is not x")
  precondition(encoded.count == frame.count, "another length for the same message")
  for index in frame.indices { precondition(encoded[index] == frame[index], "other bytes for the same message") }
}

private func decode(_ frame: Span<UInt8>) -> Message? {
  do throws(ControlProtocolError) {
    guard let header = try FrameHeader.parse(frame), header.frameLength == frame.count else { return nil }
    return try Message.decode(type: header.type, body: frame.extracting(FrameHeader.length..<frame.count))
  } catch {
    return nil
  }
}
