// SPDX-License-Identifier: Apache-2.0

/// Buffers of 2 KB to 64 KB in powers of two, with one bound for all together. A connection takes the smallest that holds
/// what it has, moves to the next size when that is full, and gives it back; so an idle connection costs none, and a
/// typical request costs 2 KB. Buffers that were given back are kept for reuse up to a quarter of the bound.
struct BufferPool {
  /// Names a buffer; `none` is no buffer.
  struct Handle: Hashable, BitwiseCopyable {
    fileprivate var index: Int32
    static var none: Handle { Handle(index: -1) }
    var isNone: Bool { index < 0 }
  }

  static let smallest = 2048
  static let largest = smallest << (classes - 1)
  private static let classes = 6

  private var storage: [[UInt8]] = []
  /// The size class of each buffer in `storage`.
  private var classOf: [UInt8] = []
  /// Per class, the buffers that are free and still have their memory.
  private var free: [[Int32]] = Array(repeating: [], count: classes)
  /// Indices of `storage` without memory.
  private var vacant: [Int32] = []
  private var freeBytes = 0
  private(set) var bytesInUse = 0
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  private static func size(_ sizeClass: Int) -> Int { smallest << sizeClass }

  func capacity(_ handle: Handle) -> Int { handle.isNone ? 0 : BufferPool.size(Int(classOf[Int(handle.index)])) }

  /// Makes `handle` a buffer of at least `count` bytes whose first `keeping` bytes stay. False, and nothing changes, when
  /// the bound does not allow it or no buffer is so large.
  mutating func grow(_ handle: inout Handle, toHold count: Int, keeping: Int) -> Bool {
    if capacity(handle) >= count { return true }
    guard count <= BufferPool.largest, let larger = acquire(count) else { return false }
    if !handle.isNone {
      let from = Int(handle.index)
      let kept = min(keeping, storage[from].count)
      storage[Int(larger.index)].replaceSubrange(0..<kept, with: storage[from][0..<kept])
      release(&handle)
    }
    handle = larger
    return true
  }

  mutating func release(_ handle: inout Handle) {
    guard !handle.isNone else { return }
    let index = Int(handle.index)
    let size = BufferPool.size(Int(classOf[index]))
    bytesInUse -= size
    if freeBytes + size <= limit / 4 {
      free[Int(classOf[index])].append(handle.index)
      freeBytes += size
    } else {
      storage[index] = []
      vacant.append(handle.index)
    }
    handle = .none
  }

  /// Copies `source` to `offset`; the buffer was grown to hold it.
  mutating func write(_ source: Span<UInt8>, to handle: Handle, at offset: Int) {
    var all = storage[Int(handle.index)].mutableSpan
    ByteCopy.copy(source, to: &all, at: offset)
  }

  /// The whole memory of a buffer; empty for `none`.
  func bytes(_ handle: Handle) -> [UInt8] { handle.isNone ? [] : storage[Int(handle.index)] }

  private mutating func acquire(_ count: Int) -> Handle? {
    var sizeClass = 0
    while BufferPool.size(sizeClass) < count { sizeClass += 1 }
    let size = BufferPool.size(sizeClass)
    guard bytesInUse + size <= limit else { return nil }
    if let index = free[sizeClass].popLast() {
      freeBytes -= size
      bytesInUse += size
      return Handle(index: index)
    }
    trim(toFit: size)
    bytesInUse += size
    if let index = vacant.popLast() {
      storage[Int(index)] = Array(repeating: 0, count: size)
      classOf[Int(index)] = UInt8(sizeClass)
      return Handle(index: index)
    }
    storage.append(Array(repeating: 0, count: size))
    classOf.append(UInt8(sizeClass))
    return Handle(index: Int32(storage.count - 1))
  }

  /// Gives free buffers of other sizes back to the system until `size` more bytes are within the bound.
  private mutating func trim(toFit size: Int) {
    for sizeClass in (0..<BufferPool.classes).reversed() {
      while bytesInUse + freeBytes + size > limit, let index = free[sizeClass].popLast() {
        storage[Int(index)] = []
        vacant.append(index)
        freeBytes -= BufferPool.size(sizeClass)
      }
    }
  }
}
