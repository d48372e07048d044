// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Dispatcher
import DispatcherCore
import LinuxKernel
import Logging
import Rules
import Synchronization
import Telemetry
import Testing
import Wire

@Suite("Dispatcher service over loopback")
struct DispatcherServiceTests {
  @Test("nodes join, decisions are answered, loads come back")
  func wholeLife() throws {
    let dispatcher = try TestDispatcher()
    #expect(dispatcher.role.health() == .waiting("for a server node to register"))
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    let two = try TestNode(dispatcher, .backEnd, "two")
    let nodes = [distributor, one, two]
    one.registerBackEnd()
    two.registerBackEnd()
    let service = Endpoint(loopback, 80)
    distributor.connection.send(.registerDistributor(DistributorRegistration(services: [service])))
    #expect(
      talk(nodes) {
        nodes.allSatisfy { $0.view?.backEnds.count == 2 && $0.view?.services == [service] && $0.dispatcher != nil }
      })
    #expect(distributor.view?.backEnds.allSatisfy { $0.state == .up } == true)
    #expect(dispatcher.role.health() == .ready || dispatcher.wait { $0.backEnds.count == 2 })

    distributor.ask(0..<40)
    #expect(talk(nodes) { distributor.decisions.count == 40 })
    #expect(distributor.decisions.map(\.id) == Array(0..<40))
    let assigned = distributor.decisions.compactMap { decision -> Int? in
      guard case .assigned(let id) = decision.outcome else { return nil }
      return Int(id.rawValue)
    }
    #expect(assigned.count == 40 && Set(assigned) == [0, 1])
    #expect(dispatcher.wait { $0.connections == 40 && $0.counters.assignedTotal == 40 })

    // Back-end 0 takes its connections and ends them; one assignment of the other comes back.
    let ofZero = UInt32(assigned.count { $0 == 0 })
    let zero = distributor.view?.backEnds[0].name == "one" ? one : two
    zero.report(active: ofZero)
    zero.report(ended: ofZero, active: 0)
    distributor.connection.send(.assignmentsReturned([BackEndID(1)]))
    #expect(talk(nodes) { dispatcher.role.snapshot.connections == UInt64(40 - ofZero - 1) })
    #expect(dispatcher.role.snapshot.backEnds[0].connections == 0)
  }

  @Test("excluded back-ends are not chosen; none up is said so")
  func exclusion() throws {
    let dispatcher = try TestDispatcher()
    let distributor = try TestNode(dispatcher, .distributor, "front")
    distributor.ask(0..<3)
    #expect(talk([distributor]) { distributor.decisions.count == 3 })
    #expect(distributor.decisions.allSatisfy { $0.outcome == .noBackEnd })
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    distributor.ask(3..<4, excluded: BackEndID(0))
    distributor.ask(4..<5)
    #expect(talk([distributor, one]) { distributor.decisions.count == 5 })
    #expect(distributor.decisions[3].outcome == .noBackEnd)
    #expect(distributor.decisions[4].outcome == .assigned(BackEndID(0)))
  }

  @Test("a node that goes away is down for everybody; drained and broken servers too")
  func states() throws {
    let dispatcher = try TestDispatcher()
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    one.report(active: 0, state: .draining)
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .draining })
    one.report(active: 0, state: .down)
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .down })
    one.report(active: 7, state: .up)
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    #expect(dispatcher.wait { $0.connections == 7 })
    one.connection.send(.goodbye("the node stops"))
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .down })
    #expect(dispatcher.wait { $0.connections == 0 && $0.ended[Int(PeerEnd.left.rawValue)] == 1 })
  }

  @Test("services go with their distributor")
  func services() throws {
    let dispatcher = try TestDispatcher()
    let one = try TestNode(dispatcher, .backEnd, "one")
    do {
      let distributor = try TestNode(dispatcher, .distributor, "front")
      distributor.connection.send(
        .registerDistributor(DistributorRegistration(services: [Endpoint(loopback, 80), Endpoint(loopback, 443)])))
      #expect(talk([one, distributor]) { one.view?.services.count == 2 })
    }
    #expect(talk([one]) { one.view?.services.isEmpty == true })
  }

  @Test("another protocol version is refused by a text that names both")
  func version() throws {
    let dispatcher = try TestDispatcher()
    let old = try TestNode(dispatcher, .backEnd, "old", version: 9)
    #expect(talk([old]) { old.goodbye != nil })
    #expect(old.goodbye?.contains("version \(ControlProtocolVersion.current)") == true)
    #expect(old.goodbye?.contains("version 9") == true)
    #expect(dispatcher.wait { $0.ended[Int(PeerEnd.refused.rawValue)] == 1 })
  }

  @Test("a second live node of a name is refused", arguments: [Role.backEnd, .distributor])
  func names(role: Role) throws {
    let dispatcher = try TestDispatcher()
    let first = try TestNode(dispatcher, role, "twin", instance: 1)
    if role == .backEnd { first.registerBackEnd() }
    #expect(talk([first]) { first.view != nil && (role == .distributor || first.view?.backEnds.count == 1) })
    let second = try TestNode(dispatcher, role, "twin", instance: 2)
    if role == .backEnd { second.registerBackEnd() }
    #expect(talk([first, second]) { second.goodbye != nil })
    #expect(second.goodbye?.contains("twin") == true)
    #expect(first.goodbye == nil && first.end == nil)
  }

  @Test("the same process on a new connection takes its own place")
  func reconnect() throws {
    let dispatcher = try TestDispatcher()
    let first = try TestNode(dispatcher, .backEnd, "one", instance: 5)
    first.registerBackEnd()
    #expect(talk([first]) { first.view?.backEnds.first?.state == .up })
    let second = try TestNode(dispatcher, .backEnd, "one", instance: 5)
    second.registerBackEnd()
    #expect(talk([first, second]) { first.goodbye != nil })
    #expect(talk([second]) { second.view?.backEnds.map(\.state) == [.up] })
    #expect(second.goodbye == nil)
  }

  @Test("a node that speaks out of turn is told so and dropped")
  func violations() throws {
    let dispatcher = try TestDispatcher()
    let early = try TestNode(silentAt: dispatcher)
    early.ask(0..<1)
    #expect(talk([early]) { early.goodbye != nil })
    let backEnd = try TestNode(dispatcher, .backEnd, "one")
    backEnd.ask(0..<1)
    #expect(talk([backEnd]) { backEnd.goodbye?.contains("decisionRequests") == true })
    let rival = try TestNode(dispatcher, .dispatcher, "rival")
    #expect(talk([rival]) { rival.goodbye != nil })
    #expect(dispatcher.wait { $0.ended[Int(PeerEnd.protocolViolation.rawValue)] == 2 })
  }

  @Test("garbage and silence end a connection and no other")
  func hostile() throws {
    let dispatcher = try TestDispatcher()
    let good = try TestNode(dispatcher, .distributor, "front")
    let raw = try StreamSocket(familyOf: loopback)
    try raw.connect(to: dispatcher.role.endpoint)
    // A peer that says nothing at all.
    let silent = try TestNode(silentAt: dispatcher)
    #expect(talk([good]) { (try? raw.write(Array("GET / HTTP/1.1\r\n\r\n".utf8).span)) ?? 0 > 0 })
    #expect(talk([good]) { dispatcher.role.snapshot.ended[Int(PeerEnd.malformed.rawValue)] == 1 })
    // Silence: the good node pings, the silent one does not.
    #expect(talk([good]) { dispatcher.role.snapshot.ended[Int(PeerEnd.silent.rawValue)] == 1 })
    #expect(good.end == nil && dispatcher.role.snapshot.peers == 1)
    _ = silent
  }

  @Test("a peer that does not read is dropped at the bound")
  func backPressure() throws {
    let dispatcher = try TestDispatcher(peerQueueLimit: 100_000)
    let socket = try StreamSocket(familyOf: loopback)
    try socket.set(1, 8, 4096)  // SOL_SOCKET, SO_RCVBUF
    try socket.connect(to: dispatcher.role.endpoint)
    var frames: [UInt8] = []
    Message.hello(Hello(role: .distributor, instance: 1, name: "deaf")).encode(into: &frames)
    let requests = (0..<8000).map { DecisionRequest(id: $0, target: $0) }
    let helloLength = frames.count
    Message.decisionRequests(requests).encode(into: &frames)
    var offset = 0
    let deadline = MonotonicTime.now() + 20_000_000_000
    while dispatcher.role.snapshot.ended[Int(PeerEnd.notReading.rawValue)] == 0, MonotonicTime.now() < deadline {
      guard let written = try? socket.write(frames.span.extracting(offset..<frames.count)) else {
        pause()
        continue
      }
      if written == 0 { pause() }
      offset += written
      // The batch again and again, the hello once.
      if offset == frames.count { offset = helloLength }
    }
    #expect(dispatcher.role.snapshot.ended[Int(PeerEnd.notReading.rawValue)] == 1)
  }

  @Test("requests and decisions add up in the metrics")
  func sums() throws {
    let dispatcher = try TestDispatcher {
      $0.admission = .fixed(10)
      $0.queueCapacity = 5
      $0.queueDeadline = 300_000_000
    }
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    distributor.ask(0..<20)
    // Ten are assigned, five turned away, five wait; two of them get a place, and the time of three is over.
    #expect(talk([distributor, one]) { distributor.decisions.count == 15 })
    one.report(ended: 2, active: 8)
    #expect(talk([distributor, one]) { distributor.decisions.count == 20 })
    #expect(distributor.decisions.count { $0.outcome == .overloaded } == 8)
    #expect(dispatcher.wait { $0.counters.overloadedByDeadline == 3 && $0.queued == 0 })
    #expect(dispatcher.metric("requests_total") == 20)
    #expect(dispatcher.metric("decisions_total") == 20)
    #expect(dispatcher.metric("decisions_total", ["outcome": "assigned", "policy": "lard-r"]) == 12)
    #expect(dispatcher.metric("decisions_total", ["reason": "queue_full"]) == 5)
    #expect(dispatcher.metric("back_end_connections", ["back_end": "one"]) == 10)
    #expect(dispatcher.metric("back_end_state", ["state": "up"]) == 1)
    #expect(dispatcher.metric("peers") == 2)
  }

  @Test("a batch whose requests all have to wait is answered too")
  func emptyAnswer() throws {
    let dispatcher = try TestDispatcher {
      $0.admission = .fixed(1)
      $0.queueDeadline = 60_000_000_000
    }
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    distributor.ask(0..<1)
    #expect(talk([distributor, one]) { distributor.decisions.count == 1 })
    distributor.ask(1..<3)
    #expect(talk([distributor, one]) { distributor.messages.contains(.decisions([])) })
    #expect(distributor.decisions.count == 1)
  }

  @Test("explain and hottest targets answer from the running dispatcher")
  func questions() throws {
    let dispatcher = try TestDispatcher()
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    for _ in 0..<3 { distributor.ask(1..<2) }
    distributor.ask(2..<3)
    #expect(talk([distributor, one]) { distributor.decisions.count == 4 })
    let answers = Answers()
    let question = try RequestQuestion(target: "/a?b", host: "h", client: loopback)
    distributor.connection.send(.decisionRequests((5..<9).map { DecisionRequest(id: $0, target: question.target) }))
    #expect(talk([distributor, one]) { distributor.decisions.count == 8 })
    dispatcher.role.explain(question) { answer in
      answers.explanation.withLock { $0 = answer }
    }
    dispatcher.role.hottestTargets(1) { answer in answers.hottest.withLock { $0 = answer } }
    #expect(
      talk([distributor, one]) { answers.explanation.withLock { $0 } != nil && answers.hottest.withLock { $0 } != nil })
    let explanation = answers.explanation.withLock { $0 }
    #expect(explanation?.placement.verdict == .assigned(BackEndID(0), name: "one", .mapped))
    #expect(explanation?.rule == nil && explanation?.route == Route())
    let hottest = answers.hottest.withLock { $0 } ?? []
    #expect(hottest == [HotTarget(hash: question.target, uses: 4, replicas: [BackEndID(0)])])
  }

  @Test("rules reach distributors at the start and when they change; pools and ties hold over the wire")
  func rules() throws {
    let first = [Rule(paths: ["/api/"], pool: "api")]
    let dispatcher = try TestDispatcher(rules: first)
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    let two = try TestNode(dispatcher, .backEnd, "two")
    one.registerBackEnd(pools: ["api"])
    two.registerBackEnd()
    let nodes = [distributor, one, two]
    #expect(talk(nodes) { distributor.rules.count == 1 && distributor.view?.backEnds.count == 2 })
    #expect(distributor.rules.first?.rules == first)
    #expect(one.rules.isEmpty, "server nodes have no use for rules")
    #expect(distributor.view?.backEnds.map(\.registration.pools) == [["api"], []])
    let second = [Rule(paths: ["/api/"], pool: "api", stickiness: Rule.Stickiness(.client, lifetime: 60))]
    dispatcher.role.setRules(second)
    #expect(talk(nodes) { distributor.rules.count == 2 })
    let sets = distributor.rules
    #expect(sets.last?.rules == second)
    // Ties are known by hashes, which must not change with the rules.
    #expect(sets.first?.keyHigh == sets.last?.keyHigh && sets.first?.keyLow == sets.last?.keyLow)
    #expect(sets.last?.keyHigh != 0)

    let table = RuleTable(try #require(sets.last))
    let head = Array("GET /api/x HTTP/1.0\r\n\r\n".utf8)
    let facts = RequestFacts(method: 0..<3, target: 4..<10, host: nil, fields: 21..<21, client: loopback)
    let route = table.judge(facts, in: head.span).route
    distributor.connection.send(
      .decisionRequests((0..<20).map { DecisionRequest(id: $0, target: $0 &* 77, route: route) }))
    #expect(talk(nodes) { distributor.decisions.count == 20 })
    #expect(distributor.decisions.allSatisfy { $0.outcome == .assigned(BackEndID(0)) })
    #expect(dispatcher.wait { $0.counters[.sticky] == 19 })
    let answers = Answers()
    dispatcher.role.explain(try RequestQuestion(target: "/api/y", host: "h", client: loopback)) { answer in
      answers.explanation.withLock { $0 = answer }
    }
    #expect(talk(nodes) { answers.explanation.withLock { $0 } != nil })
    let explanation = answers.explanation.withLock { $0 }
    #expect(explanation?.rule == 0 && explanation?.route == route)
    #expect(explanation?.placement.verdict == .assigned(BackEndID(0), name: "one", .sticky))
    #expect(explanation?.placement.candidates.last?.exclusion == .otherPool)
  }

  @Test("a question that is no request is refused with the scanner's reason")
  func badQuestions() {
    #expect(throws: RequestQuestion.Failure.lineBreak) {
      try RequestQuestion(target: "/", host: "h", cookie: "a\r\nX: 1", client: loopback)
    }
    #expect(throws: RequestQuestion.Failure.invalid(.init(reason: "invalidTarget", status: 400))) {
      try RequestQuestion(target: "nothing", host: "h", client: loopback)
    }
  }

  final class Answers: Sendable {
    let explanation = Mutex<RequestExplanation?>(nil)
    let hottest = Mutex<[HotTarget]?>(nil)
  }

  @Test("a restarted dispatcher: everybody comes back, and true loads with them")
  func restart() throws {
    let port: UInt16
    do {
      let dispatcher = try TestDispatcher()
      port = dispatcher.role.endpoint.port
      let one = try TestNode(dispatcher, .backEnd, "one")
      one.registerBackEnd()
      #expect(talk([one]) { one.view?.backEnds.first?.state == .up })
      dispatcher.role.stop(draining: 0)
      dispatcher.role.join()
      #expect(talk([one]) { one.goodbye == "the dispatcher is stopping" })
      #expect(dispatcher.role.health() == .draining)
    }
    let dispatcher = try TestDispatcher(port: port)
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    one.report(active: 33)
    #expect(talk([one]) { dispatcher.role.snapshot.connections == 33 })
  }

  @Test("a taken port is a start-up failure that says what to do")
  func takenPort() throws {
    let dispatcher = try TestDispatcher()
    #expect {
      _ = try TestDispatcher(port: dispatcher.role.endpoint.port)
    } throws: { error in
      guard let failure = error as? StartupFailure else { return false }
      return failure.problem.contains("bind") && failure.remedy.contains("port")
    }
  }
}
