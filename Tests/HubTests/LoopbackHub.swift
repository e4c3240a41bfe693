#if Network
import Foundation
import Synchronization

/// A small HTTP server on 127.0.0.1 that answers as a test says: one request a connection.
final class LoopbackHub: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        var headers: [String: String]
    }

    struct Reply: Sendable {
        var status = 200
        var headers: [String: String] = [:]
        var body: [UInt8] = []
        /// What the header says of the body's length, if not the truth.
        var claimedLength: Int?
        /// Bytes of the body after which the connection is cut.
        var cutAfter: Int?
        /// What is waited for, for a while, before the connection is cut: what the client has not taken yet is lost.
        var cutWhen: (@Sendable () -> Bool)?
        /// Bytes of the body after which nothing comes until the client goes.
        var holdAfter: Int?
    }

    private struct State {
        var requests: [Request] = []
        var open = 0
        var mostOpen = 0
        var isStopped = false
    }

    let port: Int
    private let listener: Int32
    private let state = Mutex(State())
    private let answer: @Sendable (Request, Int) -> Reply

    /// Begins to listen.
    ///
    /// - Parameter answer: gets each request and how many came to the same path before.
    init(_ answer: @escaping @Sendable (Request, Int) -> Reply) throws {
        self.answer = answer
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (listener, isBound) = withUnsafeMutablePointer(to: &address) { [listener] pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                var size = length
                let isBound =
                    bind(listener, raw, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, raw, &size) == 0
                return (listener, isBound)
            }
        }
        guard isBound else {
            close(listener)
            throw POSIXError(.EADDRINUSE)
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        let thread = Thread { [self] in accept() }
        thread.start()
    }

    /// Its address by number; `localhost` names it too, and is another host for whoever compares names.
    var endpoint: String { "http://127.0.0.1:\(port)" }
    var otherHost: String { "http://localhost:\(port)" }

    /// All requests so far.
    var requests: [Request] { state.withLock { $0.requests } }
    /// The most requests that were answered at the same time.
    var mostOpen: Int { state.withLock { $0.mostOpen } }

    /// Ends the server.
    func stop() { state.withLock { $0.isStopped = true } }

    private func accept() {
        while !state.withLock({ $0.isStopped }) {
            var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 20) > 0 else { continue }
            let connection = Glibc.accept(listener, nil, nil)
            guard connection >= 0 else { continue }
            let thread = Thread { [self] in
                serve(connection)
                close(connection)
            }
            thread.start()
        }
        close(listener)
    }

    private func serve(_ connection: Int32) {
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        guard let request = receive(connection) else { return }
        let earlier = state.withLock { state in
            let count = state.requests.filter { $0.path == request.path && $0.method == request.method }.count
            state.requests.append(request)
            state.open += 1
            state.mostOpen = max(state.mostOpen, state.open)
            return count
        }
        let reply = answer(request, earlier)
        var head = "HTTP/1.1 \(reply.status) Status\r\nConnection: close\r\n"
        for (name, value) in reply.headers { head += "\(name): \(value)\r\n" }
        if reply.headers["Transfer-Encoding"] == nil {
            head += "Content-Length: \(reply.claimedLength ?? reply.body.count)\r\n"
        }
        // A request is over for the client when the last byte is there, and may then send the next one.
        let end = reply.holdAfter ?? reply.cutAfter ?? reply.body.count
        let body = request.method == "HEAD" ? [] : reply.body.prefix(end)
        if body.isEmpty { state.withLock { $0.open -= 1 } }
        send(connection, Array((head + "\r\n").utf8))
        if !body.isEmpty {
            send(connection, Array(body.dropLast()))
            state.withLock { $0.open -= 1 }
            send(connection, Array(body.suffix(1)))
        }
        var byte: UInt8 = 0
        for _ in 0..<2000 where reply.cutWhen?() == false { usleep(2000) }
        if reply.holdAfter != nil { recv(connection, &byte, 1, 0) }
        shutdown(connection, Int32(SHUT_RDWR))
    }

    private func receive(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        let end = Array("\r\n\r\n".utf8)
        while bytes.count < 65_536 {
            let got = recv(connection, &buffer, buffer.count, 0)
            guard got > 0 else { return nil }
            bytes += buffer[..<got]
            guard bytes.suffix(end.count).elementsEqual(end) else { continue }
            let lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
            let parts = lines[0].split(separator: " ")
            guard parts.count == 3 else { return nil }
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
                headers[line[..<colon].lowercased()] = value
            }
            return Request(method: String(parts[0]), path: String(parts[1]), headers: headers)
        }
        return nil
    }

    private func send(_ connection: Int32, _ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return }
            rest = rest.dropFirst(sent)
        }
    }
}
#endif
