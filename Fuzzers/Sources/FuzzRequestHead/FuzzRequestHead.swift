// SPDX-License-Identifier: Apache-2.0

import CLibFuzzer
import Glibc
import HTTPHead

/// Two bytes that say where to split, then any bytes as a request. Laws: the answer does not depend on the split; a head
/// ends where it says, and its ranges lie in it.
@main
struct FuzzRequestHead {
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

private func fuzz(_ input: Span<UInt8>) {
  guard input.count >= 2 else { return }
  let bytes = input.extracting(2..<input.count)
  let split = (Int(input[0]) << 8 | Int(input[1])) % (bytes.count + 1)
  check(bytes, split, RequestHeadLimits())
  check(
    bytes, split,
    RequestHeadLimits(
      maximumHeadLength: 64, maximumTargetLength: 16, maximumMethodLength: 8, maximumFieldCount: 3,
      maximumLeadingEmptyLines: 1))
}

private func check(_ bytes: Span<UInt8>, _ split: Int, _ limits: RequestHeadLimits) {
  let whole = scan(bytes, limits)
  var scanner = RequestHeadScanner(limits: limits)
  var parts = scanner.scan(bytes.extracting(0..<split))
  if parts != .incomplete { precondition(scanner.scan(bytes) == parts, "an answer changed") }
  parts = scanner.scan(bytes)
  precondition(parts == whole, "the split changed the answer")
  if bytes.count <= 128 {
    var scanner = RequestHeadScanner(limits: limits)
    var result = RequestHeadResult.incomplete
    for end in 0...bytes.count where result == .incomplete { result = scanner.scan(bytes.extracting(0..<end)) }
    precondition(result == whole, "single bytes changed the answer")
  }
  guard case .complete(let head) = whole else { return }
  precondition(head.length <= min(bytes.count, limits.maximumHeadLength), "a head beyond its limit")
  precondition(scan(bytes.extracting(0..<head.length), limits) == whole, "the head does not end where it says")
  precondition(scan(bytes.extracting(0..<head.length - 1), limits) == .incomplete, "the head ends before it says")
  let target = head.targetRange
  precondition(target.count <= limits.maximumTargetLength && head.fieldCount <= limits.maximumFieldCount)
  precondition(head.methodRange.upperBound < target.lowerBound && target.upperBound < head.length)
  precondition(!head.routingTarget.isEmpty && head.routingTarget.clamped(to: target) == head.routingTarget)
  if let host = head.host { precondition(host.clamped(to: 0..<head.length) == host) }
}

private func scan(_ bytes: Span<UInt8>, _ limits: RequestHeadLimits) -> RequestHeadResult {
  var scanner = RequestHeadScanner(limits: limits)
  return scanner.scan(bytes)
}
