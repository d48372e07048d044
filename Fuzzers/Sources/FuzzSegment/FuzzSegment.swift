// SPDX-License-Identifier: Apache-2.0

import CLibFuzzer
import Glibc
import Wire

/// Any bytes as an IP packet. Laws: checksums decide nothing but themselves; what is taken can be emitted and is the same
/// when parsed again.
@main
struct FuzzSegment {
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
  let loose = parse(bytes, verifyingChecksums: false)
  switch parse(bytes, verifyingChecksums: true) {
  case .success(let segment): precondition(loose == .success(segment), "checksums changed the segment")
  case .failure(.badIPChecksum), .failure(.badTCPChecksum): break
  case .failure(let error): precondition(loose == .failure(error), "checksums changed the error")
  }
  guard case .success(let parsed) = loose else { return }
  let payload = bytes.extracting(parsed.payload)
  let length = parsed.segment.headerLength + payload.count
  precondition(length <= bytes.count, "a packet grew")
  var packet = [UInt8](repeating: 0xee, count: length)
  var span = packet.mutableSpan
  precondition(parsed.segment.emit(payload: payload, into: &span) == length, "the length is not what was announced")
  let start = parsed.segment.headerLength
  let expected = ParsedSegment(segment: parsed.segment, payload: start..<length)
  precondition(parse(packet.span, verifyingChecksums: true) == .success(expected), "parse(emit(x)) is not x")
  for index in payload.indices { precondition(packet[start + index] == payload[index], "the payload changed") }
}

private func parse(_ bytes: Span<UInt8>, verifyingChecksums: Bool) -> Result<ParsedSegment, WireError> {
  do throws(WireError) {
    return .success(try TCPSegment.parse(bytes, verifyingChecksums: verifyingChecksums))
  } catch {
    return .failure(error)
  }
}
