// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Build tool: compiles one BPF C source and writes it as a Swift file with the object as hexadecimal text.
///
/// Arguments: clang, source, folder of the shared headers, name of the program, output file.
/// A `StaticString` is used because an array literal of some ten thousand elements takes the type checker minutes.
@main
enum BPFEmbed {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 6 else {
      fail("usage: BPFEmbed CLANG SOURCE HEADERS NAME OUTPUT")
    }
    let (clang, source, headers, name, output) = (arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
    let object = output + ".o"
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: clang)
    compiler.arguments = [
      "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-stack-protector",
      // asm/types.h lives in Debian's multiarch folder, which the bpf target does not search.
      "-idirafter", "/usr/include", "-idirafter", "/usr/include/\(multiarchTriple)",
      "-I", headers, "-c", source, "-o", object,
    ]
    try compiler.run()
    compiler.waitUntilExit()
    guard compiler.terminationStatus == 0 else {
      fail("\(clang) could not compile \(source); are libbpf-dev and linux-libc-dev installed?")
    }
    let bytes = try Data(contentsOf: URL(fileURLWithPath: object))
    let digits = Array("0123456789abcdef".utf8)
    var hexadecimal: [UInt8] = []
    hexadecimal.reserveCapacity(bytes.count * 2)
    for byte in bytes {
      hexadecimal.append(digits[Int(byte >> 4)])
      hexadecimal.append(digits[Int(byte & 15)])
    }
    let text = """
      // Generated from \(name).bpf.c by the build. Do not edit.

      enum \(name)Object {
        /// The ELF object.
        static let bytes = BPFObject.embedded(hexadecimal)
        private static let hexadecimal: StaticString = "\(String(decoding: hexadecimal, as: UTF8.self))"
      }

      """
    try text.write(toFile: output, atomically: true, encoding: .utf8)
  }

  static var multiarchTriple: String {
    #if arch(x86_64)
      "x86_64-linux-gnu"
    #elseif arch(arm64)
      "aarch64-linux-gnu"
    #else
      #error("unknown architecture")
    #endif
  }

  static func fail(_ message: String) -> Never {
    FileHandle.standardError.write(Data("error: \(message)\n".utf8))
    exit(1)
  }
}
