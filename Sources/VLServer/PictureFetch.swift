#if Network
import AsyncHTTPClient
import Dispatch
import Foundation
import NIOCore
import NIOHTTP1

/// Fetches pictures from hosts that the server's owner has named, and from nowhere else.
///
/// A name is resolved once, every address is looked at, and the connection goes to the address that was looked at: a
/// name that points elsewhere a moment later (DNS rebinding) changes nothing. The same holds for each redirection.
struct PictureFetch: Sendable {
    /// Hosts that may be asked.
    let hosts: [String]
    /// Whether addresses of private networks and of this machine count as global.
    let allowsPrivate: Bool
    /// Bytes of a picture.
    let limit: Int
    /// Seconds for all of it.
    let seconds: Int

    private static let mostRedirections = 3
    private static let queue = DispatchQueue(label: "VLServer.resolve", attributes: .concurrent)

    static func refused() -> APIError {
        APIError(
            400,
            "image: expected a data: URL, or a web address on a host that this server may ask",
            code: "image_url_not_allowed"
        )
    }

    static func failed(_ text: String) -> APIError {
        APIError(400, "image: \(text)", code: "image_fetch_failed")
    }

    /// The bytes at a web address.
    ///
    /// - Throws: `APIError`, whose text says nothing of what lies behind the address.
    func fetch(_ text: String) async throws -> [UInt8] {
        guard let address = WebAddress(text), WebAddress.allows(address.host, hosts) else {
            throw Self.refused()
        }
        let seconds = seconds
        return try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
            group.addTask { try await load(address) }
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let bytes = first else {
                throw Self.failed("expected the picture within \(seconds) seconds")
            }
            return bytes
        }
    }

    private func load(_ first: WebAddress) async throws -> [UInt8] {
        var address = first
        for _ in 0...Self.mostRedirections {
            guard WebAddress.allows(address.host, hosts) else { throw Self.refused() }
            let place = try await resolve(address)
            switch try await ask(address, at: place) {
            case .bytes(let bytes): return bytes
            case .elsewhere(let location):
                guard let next = address.following(location), next.isSecure || !address.isSecure else {
                    throw Self.failed("expected a redirection to a plain address that stays encrypted")
                }
                address = next
            }
        }
        throw Self.failed("expected at most \(Self.mostRedirections) redirections")
    }

    private enum Outcome: Sendable {
        case bytes([UInt8])
        case elsewhere(String)
    }

    private func ask(_ address: WebAddress, at place: String) async throws -> Outcome {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(5)
        configuration.timeout.read = .seconds(Int64(seconds))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        // The name is still what the certificate is checked against.
        configuration.dnsOverride = [address.host: place]
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<Outcome, any Error>
        do {
            outcome = .success(try await exchange(address, at: place, client))
        } catch let error as APIError {
            outcome = .failure(error)
        } catch {
            outcome = .failure(Self.failed("expected a picture at this address, found none"))
        }
        // What cannot be ended any more is ended with the program.
        try? await client.shutdown()
        return try outcome.get()
    }

    private func exchange(
        _ address: WebAddress,
        at place: String,
        _ client: HTTPClient
    ) async throws -> Outcome {
        // An address that is no name goes into the request as it was looked at.
        let isName = !address.host.contains(":") && address.host.contains { $0.isLetter }
        let url = isName ? address.description : address.description(host: place)
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "Accept", value: "image/*")
        request.headers.add(name: "Accept-Encoding", value: "identity")
        request.headers.add(name: "User-Agent", value: "deepseek-vl")
        let response = try await client.execute(request, timeout: .seconds(Int64(seconds)))
        let status = Int(response.status.code)
        if [301, 302, 303, 307, 308].contains(status) {
            return .elsewhere(response.headers.first(name: "Location") ?? "")
        }
        guard status == 200 else { throw Self.failed("expected a picture at this address, found none") }
        let tooLarge = Self.failed("expected a picture of at most \(limit) bytes")
        if let length = response.headers.first(name: "Content-Length").flatMap({ Int($0) }), length > limit {
            throw tooLarge
        }
        var bytes: [UInt8] = []
        for try await part in response.body {
            guard bytes.count + part.readableBytes <= limit else { throw tooLarge }
            bytes.append(contentsOf: part.readableBytesView)
        }
        return .bytes(bytes)
    }

    // MARK: Addresses

    /// The address that a host has, as text.
    ///
    /// - Throws: `APIError` if it has none, or one that is not open to everybody.
    private func resolve(_ address: WebAddress) async throws -> String {
        let host = address.host
        let found = await withCheckedContinuation { continuation in
            Self.queue.async { continuation.resume(returning: Self.addresses(of: host)) }
        }
        guard let first = found.first else {
            throw Self.failed("expected a picture at this address, found none")
        }
        // One address that is not global is enough: which one a connection takes is nobody's promise.
        guard allowsPrivate || found.allSatisfy({ GlobalAddress.isGlobal($0.bytes) }) else {
            throw Self.refused()
        }
        return first.text
    }

    private static func addresses(of host: String) -> [(bytes: [UInt8], text: String)] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        #if canImport(Darwin)
        hints.ai_socktype = SOCK_STREAM
        #else
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var found: [(bytes: [UInt8], text: String)] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            guard let address = entry.ai_addr else { continue }
            var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(
                    address,
                    entry.ai_addrlen,
                    &name,
                    socklen_t(name.count),
                    nil,
                    0,
                    NI_NUMERICHOST
                ) == 0
            else { continue }
            let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let bytes =
                if entry.ai_family == AF_INET {
                    address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                        withUnsafeBytes(of: $0.pointee.sin_addr) { Array($0) }
                    }
                } else {
                    address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                        withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) }
                    }
                }
            // An address with a zone (fe80::1%eth0) is local.
            found.append((text.contains("%") ? [] : bytes, text))
        }
        return found
    }
}
#endif
