// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatcher
import LinuxKernel
import Logging
import NodeChecks
import Telemetry

/// From arguments to exit status.
enum Startup {
  /// Statuses of sysexits are not used: service managers and scripts know 0, 1 and 2.
  private enum Status {
    static let clean: Int32 = 0
    static let failure: Int32 = 1
    static let usage: Int32 = 2
  }

  static func run(_ arguments: [String]) -> Int32 {
    let options: StartupOptions
    do {
      options = try StartupCommand.parse(arguments).options
    } catch {
      let text = StartupCommand.fullMessage(for: error)
      let isAnswer = StartupCommand.exitCode(for: error) == .success
      (isAnswer ? StandardStream.output : .error).write(text.hasSuffix("\n") ? text : text + "\n")
      return isAnswer ? Status.clean : Status.usage
    }
    let configuration: NodeConfiguration
    do {
      configuration = try load(options)
    } catch {
      StandardStream.error.write("cluster_startup: wrong configuration\n\(error)\n")
      return options.check ? Status.failure : Status.usage
    }
    if options.check { return check(configuration) }
    do throws(StartupFailure) {
      return try serve(configuration, options).rawValue
    } catch {
      StandardStream.error.write("cluster_startup: \(error)\n")
      return Status.failure
    }
  }

  static func load(_ options: StartupOptions) throws(ConfigurationProblems) -> NodeConfiguration {
    let file = if let path = options.config { try SettingsFile.load(path) } else { SettingValues() }
    return try NodeConfiguration(checking: file.overridden(by: options.values))
  }

  // MARK: --check

  private static func check(_ configuration: NodeConfiguration) -> Int32 {
    do throws(StartupFailure) {
      let plan = try NodePlan(configuration, host: try host(), dispatcher: try locateOnce(configuration))
      StandardStream.output.write(plan.text)
      let findings = Preflight.check(plan, .current())
      for finding in findings { StandardStream.error.write("\(finding.severity.rawValue): \(finding)\n") }
      return findings.contains { $0.severity == .error } ? Status.failure : Status.clean
    } catch {
      StandardStream.error.write("error: \(error)\n")
      return Status.failure
    }
  }

  private static func locateOnce(_ configuration: NodeConfiguration) throws(StartupFailure) -> DispatcherLocation {
    guard case .elsewhere(let name) = configuration.dispatcher else { return .here }
    switch Locator().find(name, configuration.internalAddress) {
    case .found(let location): return location
    case .notYet(let reason):
      throw StartupFailure(
        "\(reason.prefix(1).uppercased())\(reason.dropFirst())",
        remedy: "A start would wait for it; correct -da if it is wrong")
    }
  }

  private static func host() throws(StartupFailure) -> HostView {
    do {
      return HostView(
        hostName: HostFacts.name(), interfaces: try HostInterface.all(), processors: HostFacts.processors())
    } catch {
      throw StartupFailure("The host's interfaces cannot be listed (\(error))", remedy: "Allow netlink sockets")
    }
  }

  // MARK: Serving

  private static func serve(
    _ configuration: NodeConfiguration, _ options: StartupOptions
  ) throws(StartupFailure) -> NodeRunner.Exit {
    // Before any other thread: threads inherit the blocked signals.
    let signals: SignalQueue
    do {
      signals = try SignalQueue([.hangUp, .interrupt, .terminate])
    } catch {
      throw StartupFailure("Signals cannot be received (\(error))", remedy: "Raise the limit of open files")
    }
    SignalQueue.ignoreBrokenPipes()
    let level = SharedLogLevel(configuration.log.level)
    let format = configuration.log.format
    LoggingSystem.bootstrap { StandardErrorLog(label: $0, format: format, level: level) }
    let logger = Logger(label: "cluster_startup")
    // A limit that cannot be raised is judged by the preflight check like any other.
    _ = try? DescriptorLimit.raise()

    let metrics = MetricsRegistry()
    let table = RoleTable()
    let pages = AdminPages()
    metrics.registerProcess(
      version: StartupCommand.version, node: configuration.nodeName ?? HostFacts.name(),
      roles: configuration.roles.map(\.rawValue))
    metrics.register { [table.health().family()] }
    let admin = try Admin.start(configuration.admin, metrics: metrics, pages: pages, table: table, logger: logger)
    defer { admin?.stop() }

    var runner: NodeRunner
    do {
      runner = try NodeRunner(configuration, signals: signals, metrics: metrics, table: table, logger: logger) {
        readAgain(options, into: level, table, logger)
      }
    } catch {
      throw StartupFailure("The main loop cannot be set up (\(error))", remedy: "Raise the limit of open files")
    }
    return try runner.run(host: try host(), facts: .current()) { role, plan, metrics, logger throws(StartupFailure) in
      let running = try RoleLauncher.start(role, plan, metrics, logger)
      if let dispatcher = running as? DispatcherRole { DispatcherPages.add(dispatcher, to: pages) }
      return running
    }
  }

  /// SIGHUP: options and files are read again, and the log level and the rules that they say now are taken.
  private static func readAgain(
    _ options: StartupOptions, into level: SharedLogLevel, _ table: RoleTable, _ logger: Logger
  ) {
    do throws(ConfigurationProblems) {
      let configuration = try load(options)
      level.level = configuration.log.level
      logger.notice("log level read again", metadata: ["level": "\(level.level)"])
      guard case .here(let settings) = configuration.dispatcher else { return }
      for case let role as DispatcherRole in table.roles { role.setRules(settings.rules) }
    } catch {
      logger.error("log level and rules stay", metadata: ["level": "\(level.level)", "problem": "\(error)"])
    }
  }
}
