// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What a process exposes at `/metrics`: collectors that are asked at each scrape.
public final class MetricsRegistry: Sendable {
  private let collectors = Mutex<[@Sendable () -> [MetricFamily]]>([])

  public init() {}

  public func register(_ collect: @escaping @Sendable () -> [MetricFamily]) {
    collectors.withLock { $0.append(collect) }
  }

  public func collect() -> [MetricFamily] {
    let collectors = self.collectors.withLock { $0 }
    return collectors.flatMap { $0() }
  }
}

/// A value that one event-loop thread publishes now and then and that others read: the data path counts in plain
/// integers and pays for no atomic.
public final class Published<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  public init(_ value: Value) { self.value = Mutex(value) }

  public func publish(_ value: Value) { self.value.withLock { $0 = value } }

  public func read() -> Value { value.withLock { $0 } }
}
