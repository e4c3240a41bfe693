#if Network
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Tells whether a client has gone, to those who work for it.
final class Departure: Sendable {
    private struct State {
        var isGone = false
        var number = 0
        var waiting: [Int: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    /// Calls back when the client goes, at once if it has gone already.
    ///
    /// - Returns: what `forget` takes.
    func notify(_ body: @escaping @Sendable () -> Void) -> Int {
        let number = state.withLock { state -> Int? in
            if state.isGone { return nil }
            state.number += 1
            state.waiting[state.number] = body
            return state.number
        }
        guard let number else {
            body()
            return 0
        }
        return number
    }

    func forget(_ number: Int) { state.withLock { $0.waiting[number] = nil } }

    func leave() {
        let waiting = state.withLock { state in
            defer {
                state.isGone = true
                state.waiting = [:]
            }
            return state.waiting
        }
        for body in waiting.values { body() }
    }
}

/// Sees a connection's end, which a handler that waits for the model would not.
///
/// A client that closes only its sending side counts as gone, too: most that go look like that at first.
final class DepartureHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart

    let departure = Departure()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { departure.leave() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        departure.leave()
        context.fireChannelInactive()
    }
}
#endif
