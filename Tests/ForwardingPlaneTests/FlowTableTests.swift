// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Handoff
import Lab
import LinuxKernel
import Synchronization
import Testing
import Wire

@testable import ForwardingPlane

struct FlowTableTests {
  private func flow(_ number: Int) -> FlowTuple {
    FlowTuple(
      client: Endpoint(IPAddress(ipv4: 0x0a00_0000 + UInt32(number >> 16)), UInt16(truncatingIfNeeded: number)),
      service: Addresses.service4)
  }

  @Test func whatIsInsertedIsFound() throws {
    let interface = try TestInterface()
    let table = try interface.attach().flows
    let entries = [
      FlowEntry.forwarding(to: MACAddress(bits: 0x0102_0304_0506), handoff: .max, backEnd: .max, lastSeen: .max),
      FlowEntry.local(),
      FlowEntry(
        action: .forward(to: MACAddress(bits: 0)), clientISN: SequenceNumber(.max), handoff: HandoffID(0), backEnd: 0,
        now: 0, seen: [.fin, .rst]),
    ]
    for entry in entries {
      try table.insert(Addresses.flow4, entry)
      #expect(table.lookup(Addresses.flow4) == entry)
      #expect(table.lookup(Addresses.flow6) == nil)
      #expect(table.occupied == 1, "replacing an entry is no new one")
    }
  }

  @Test func onlyTheOwnersHandoffIsRemoved() throws {
    let interface = try TestInterface()
    let table = try interface.attach().flows
    try table.insert(Addresses.flow4, .forwarding(handoff: 7))
    #expect(!table.remove(Addresses.flow4, ifHandoff: HandoffID(6)))
    #expect(table.lookup(Addresses.flow4) != nil)
    #expect(!table.remove(Addresses.flow6, ifHandoff: HandoffID(7)))
    #expect(table.remove(Addresses.flow4, ifHandoff: HandoffID(7)))
    #expect(table.lookup(Addresses.flow4) == nil)
    #expect(!table.remove(Addresses.flow4, ifHandoff: HandoffID(7)))
    #expect(table.occupied == 0)
  }

  @Test func aFullTableRefusesAndGoesOnServing() throws {
    let interface = try TestInterface()
    let table = try interface.attach(capacity: 64).flows
    for number in 0..<64 { try table.insert(flow(number), .forwarding(handoff: UInt64(number))) }
    #expect(throws: ForwardingPlaneError.tableFull) { try table.insert(flow(64), .forwarding()) }
    // Replacing needs no room.
    try table.insert(flow(3), .local())
    #expect(table.lookup(flow(3)) == .local())
    #expect(table.occupied == 64)
    #expect(table.remove(flow(5), ifHandoff: HandoffID(5)))
    try table.insert(flow(64), .forwarding())
    #expect(table.occupied == 64)
  }

  @Test(arguments: [0, 1, 63, 64, 65, 1000])
  func aSweepMeetsEveryFlowOnce(count: Int) throws {
    let interface = try TestInterface()
    let table = try interface.attach(capacity: 1024).flows
    for number in 0..<count { try table.insert(flow(number), .forwarding(handoff: UInt64(number))) }
    var sweep = FlowSweep(step: 64)
    for _ in 0..<2 {
      var met: [FlowTuple: UInt64] = [:]
      var steps = 0
      repeat {
        let given = sweep.next(of: table) { flow, entry in
          #expect(met.updateValue(entry.handoff.rawValue, forKey: flow) == nil, "met twice")
        }
        #expect(given <= 64)
        steps += 1
      } while !sweep.isAtStart
      #expect(met.count == count)
      #expect(met.allSatisfy { $0.key == flow(Int($0.value)) })
      #expect(steps >= count / 64)
    }
  }

  @Test func flowsMayBeRemovedDuringASweep() throws {
    let interface = try TestInterface()
    let table = try interface.attach(capacity: 1024).flows
    for number in 0..<1000 { try table.insert(flow(number), .forwarding(handoff: UInt64(number))) }
    var sweep = FlowSweep(step: 64)
    var removed = 0
    repeat {
      sweep.next(of: table) { flow, entry in if table.remove(flow, ifHandoff: entry.handoff) { removed += 1 } }
    } while !sweep.isAtStart
    #expect(removed == 1000)
    #expect(table.occupied == 0)
  }

  @Test func aBackEndsFlowsGoTogether() throws {
    let interface = try TestInterface()
    let table = try interface.attach(capacity: 4096).flows
    for number in 0..<3000 { try table.insert(flow(number), .forwarding(backEnd: UInt16(number % 3))) }
    #expect(table.removeAll(backEnd: 1) == 1000)
    #expect(table.removeAll(backEnd: 1) == 0)
    for number in 0..<3000 { #expect((table.lookup(flow(number)) == nil) == (number % 3 == 1)) }
    #expect(table.occupied == 2000)
  }

  @Test func threadsInsertAndRemoveAtTheSameTime() throws {
    let interface = try TestInterface()
    let table = try interface.attach(capacity: 40_000).flows
    let failures = Atomic<Int>(0)
    let threads = (0..<4).map { worker in
      WorkerThread(name: "worker \(worker)") {
        for number in worker * 10_000..<(worker + 1) * 10_000 {
          let flow = flow(number)
          do {
            try table.insert(flow, .forwarding(handoff: UInt64(number)))
          } catch {
            failures.add(1, ordering: .relaxed)
          }
          if number % 2 == 0, !table.remove(flow, ifHandoff: HandoffID(UInt64(number))) {
            failures.add(1, ordering: .relaxed)
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.load(ordering: .relaxed) == 0)
    #expect(table.occupied == 20_000)
    var sweep = FlowSweep()
    var met = 0
    repeat {
      met += sweep.next(of: table) { flow, entry in #expect(entry.handoff.rawValue % 2 == 1) }
    } while !sweep.isAtStart
    #expect(met == 20_000)
  }

  /// The entry is replaced in the moment between the look at it and its removal.
  @Test func aRemovalThatComesLateDoesNotHitTheNextHandoff() throws {
    let interface = try TestInterface()
    let table = try interface.attach().flows
    try table.insert(Addresses.flow4, .forwarding(handoff: 1))
    var looks = 0
    let removed = table.remove(handoff_flow_key(Addresses.flow4)) { entry in
      looks += 1
      if looks == 1 { #expect(throws: Never.self) { try table.insert(Addresses.flow4, .forwarding(handoff: 2)) } }
      return entry.handoff_id == 1
    }
    #expect(!removed)
    #expect(looks == 2)
    #expect(table.lookup(Addresses.flow4) == .forwarding(handoff: 2))
    #expect(table.occupied == 1)
  }

  @Test func entriesThatASynRemovesAreNotCountedAsOccupied() throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4])
    let index = interface.index
    let table = plane.flows
    try table.insert(Addresses.flow4, .forwarding())
    try table.insert(flow(9), .forwarding())
    let frame = Frame.tcp(Addresses.flow4, .syn, sequence: 123)
    _ = try interface.namespace.perform { try plane.run(frame, interface: index) }
    #expect(table.lookup(Addresses.flow4) == nil)
    #expect(table.occupied == 1)
    // Nobody removes it a second time.
    #expect(!table.remove(Addresses.flow4, ifHandoff: HandoffID(7)))
    #expect(table.occupied == 1)
    try table.insert(Addresses.flow4, .forwarding())
    #expect(table.occupied == 2)
  }

  /// A million flows, and what they cost. The figures are printed as one line that begins with MEASURED.
  @Test func aMillionFlowsFit() throws {
    let interface = try TestInterface()
    let count = 1_000_000
    let before = try unreclaimable()
    let plane = try interface.attach(capacity: count)
    let empty = try unreclaimable()
    let table = plane.flows
    let lockedEmpty = try locked(table)
    let start = MonotonicTime.now()
    for number in 0..<count { try table.insert(flow(number), .forwarding(handoff: UInt64(number))) }
    let inserted = MonotonicTime.now()
    #expect(throws: ForwardingPlaneError.tableFull) { try table.insert(flow(count), .forwarding()) }
    let full = try unreclaimable()
    let lockedFull = try locked(table)
    #expect(table.occupied == count)

    var wrong = 0
    let looking = MonotonicTime.now()
    for number in 0..<count where table.lookup(flow(number)) != .forwarding(handoff: UInt64(number)) { wrong += 1 }
    let looked = MonotonicTime.now()
    #expect(wrong == 0)
    for number in count..<count + 100_000 where table.lookup(flow(number)) != nil { wrong += 1 }
    #expect(wrong == 0, "flows that nobody inserted")

    var sweep = FlowSweep(step: 4096)
    var met = 0
    let sweeping = MonotonicTime.now()
    repeat { met += sweep.next(of: table) { _, _ in } } while !sweep.isAtStart
    let swept = MonotonicTime.now()
    #expect(met == count)
    #expect(table.removeAll(backEnd: 3) == count)
    let removed = MonotonicTime.now()
    #expect(sweep.next(of: table) { _, _ in } == 0)
    let walkedEmpty = MonotonicTime.now()

    let bytes = (full - empty) / count
    let lockedBytes = (lockedFull - lockedEmpty) / count
    print(
      """
      MEASURED 1,000,000 flows: \(bytes) bytes of kernel memory each, \(lockedBytes) by memlock, and \
      \(Double(empty - before) / 1e6) MB for the empty table and the plane's other maps, \
      \(Double(lockedEmpty) / 1e6) MB by the table's memlock; insert \((inserted - start) / UInt64(count)) ns, \
      lookup \((looked - looking) / UInt64(count)) ns, sweep \((swept - sweeping) / UInt64(count)) ns, \
      remove \((removed - swept) / UInt64(count)) ns per flow; a walk over the empty table \
      \(Double(walkedEmpty - removed) / 1e6) ms
      """)
    // The first figure is of the whole machine: it says something only when nothing else runs.
    #expect((100...300).contains(lockedBytes), "an element is 120 bytes in a slab object of 128")
  }

  /// What the kernel says the table takes.
  private func locked(_ table: FlowTable) throws -> Int {
    let text = try SystemFile.text(of: "/proc/self/fdinfo/\(table.map.raw)")
    for line in text.split(separator: "\n") where line.hasPrefix("memlock:") {
      return line.split(separator: "\t").last.flatMap { Int($0) } ?? 0
    }
    return 0
  }

  /// Bytes of kernel memory that cannot be freed: slab objects, per-CPU memory and vmalloc.
  private func unreclaimable() throws -> Int {
    let text = try SystemFile.text(of: "/proc/meminfo")
    var sum = 0
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ")
      guard parts.count >= 2, ["SUnreclaim:", "Percpu:", "VmallocUsed:"].contains(String(parts[0])) else { continue }
      sum += (Int(parts[1]) ?? 0) * 1024
    }
    return sum
  }
}
