import Dispatch
import VLEngine
import VLFormats

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Encoded pictures in files of a folder: kept when the program ends, and shared by programs that run the same model.
///
/// A file is found by the SHA-256 of the picture's pixels, of how it is cut and of the model, and ends with a SHA-256 of
/// all that it holds: what is damaged, cut or of another model counts as not there and is removed. Files appear whole or
/// not at all. When all together are larger than the budget, those that were not used for the longest time go.
package final class FeatureFolder: FeatureStore, Sendable {
    private let path: String
    private let budget: Int
    private let model: SHA256.Digest
    private let queue = DispatchQueue(label: "DeepSeekVL.features")

    private static let magic = Array("DSVLFEA1".utf8)
    private static let suffix = ".features"
    private static let headBytes = magic.count + 32 + 32 + 8

    /// - Parameters:
    ///   - path: a folder, which is made if it is not there, for its owner alone: pictures can be guessed from files.
    ///   - budget: bytes of all files together.
    ///   - model: what tells one model's features from another's.
    /// - Throws: `DeepSeekVLError.file`.
    package init(_ path: String, budget: Int, model: SHA256.Digest) throws(DeepSeekVLError) {
        self.path = path.hasSuffix("/") ? String(path.dropLast()) : path
        self.budget = budget
        self.model = model
        if mkdir(self.path, 0o700) != 0, errno != EEXIST { throw Self.failure(path) }
        guard access(self.path, R_OK | W_OK | X_OK) == 0 else { throw Self.failure(path) }
        var status = stat()
        guard stat(self.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw .file(description: "\(path): expected a folder for encoded pictures, found something else")
        }
        trim()
    }

    private static func failure(_ path: String) -> DeepSeekVLError {
        .file(
            description:
                "\(path): expected a folder for encoded pictures that can be written, found: \(String(cString: strerror(errno)))"
        )
    }

    private func name(_ digest: SHA256.Digest) -> String {
        let key = SHA256.digest(model.bytes + digest.bytes)
        let digits = key.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return path + "/" + digits + Self.suffix
    }

    private func head(_ digest: SHA256.Digest, count: Int) -> [UInt8] {
        Self.magic + model.bytes + digest.bytes
            + withUnsafeBytes(of: UInt64(count).littleEndian) { Array($0) }
    }

    package func load(_ digest: SHA256.Digest, count: Int) -> [Float]? {
        let name = name(digest)
        let size = Self.headBytes + 4 * count + 32
        guard let bytes = try? FileContents.read(name, limit: size) else {
            // A file that is too long is damaged, too.
            if access(name, F_OK) == 0 { _ = unlink(name) }
            return nil
        }
        guard bytes.count == size, bytes.starts(with: head(digest, count: count)),
            SHA256.digest(bytes[..<(size - 32)]).bytes.elementsEqual(bytes[(size - 32)...])
        else {
            _ = unlink(name)
            return nil
        }
        _ = utimes(name, nil)
        return bytes.withUnsafeBytes { raw in
            (0..<count).map { index in
                let word = raw.loadUnaligned(fromByteOffset: Self.headBytes + 4 * index, as: UInt32.self)
                return Float(bitPattern: UInt32(littleEndian: word))
            }
        }
    }

    package func save(_ values: [Float], for digest: SHA256.Digest) {
        guard Self.headBytes + 4 * values.count + 32 <= budget else { return }
        let name = name(digest)
        var bytes = head(digest, count: values.count)
        bytes.reserveCapacity(bytes.count + 4 * values.count + 32)
        for value in values {
            withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        }
        // Answers do not wait for the disk.
        queue.async { [self, bytes] in
            // What cannot be written is encoded again the next time.
            try? AtomicFile.write(name, bytes + SHA256.digest(bytes).bytes)
            trim()
        }
    }

    /// Waits until all that was saved is on the disk.
    package func finish() { queue.sync {} }

    /// Removes what was not used for the longest time until the rest fits.
    private func trim() {
        guard let folder = opendir(path) else { return }
        defer { closedir(folder) }
        var files: [(name: String, size: Int, time: Int)] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.hasSuffix(Self.suffix) else { continue }
            var status = stat()
            guard lstat(path + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            #if canImport(Darwin)
            let time = status.st_mtimespec
            #else
            let time = status.st_mtim
            #endif
            files.append((name, Int(status.st_size), Int(time.tv_sec) * 1_000_000 + Int(time.tv_nsec) / 1000))
        }
        var size = files.reduce(0) { $0 + $1.size }
        for file in files.sorted(by: { ($0.time, $0.name) < ($1.time, $1.name) }) where size > budget {
            _ = unlink(path + "/" + file.name)
            size -= file.size
        }
    }
}

/// What tells models apart that a cache on the disk may hold.
package enum ModelFingerprint {
    /// A SHA-256 of a model's files: of all small ones, and of samples of the large ones, which no training leaves as they
    /// were; and of the way in which it computes.
    ///
    /// - Parameters:
    ///   - path: a checkpoint's folder or a GGUF file.
    ///   - way: types, kernels and whatever else changes the last bits.
    package static func digest(_ path: String, way: String) -> SHA256.Digest {
        var hash = SHA256()
        hash.update(Array("features 1 \(way)".utf8))
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFDIR {
            add(path, to: &hash)
            return hash.finish()
        }
        var names: [String] = []
        if let folder = opendir(path) {
            defer { closedir(folder) }
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if [".safetensors", ".gguf", ".json"].contains(where: name.hasSuffix) { names.append(name) }
            }
        }
        for name in names.sorted() {
            hash.update(Array(name.utf8))
            add(path + "/" + name, to: &hash)
        }
        return hash.finish()
    }

    private static func add(_ path: String, to hash: inout SHA256) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { return }
        let size = Int(status.st_size)
        hash.update(size)
        let part = 4096
        // The whole of a small file, its first 256 KiB and 256 places of a large one.
        let first = min(size, 1 << 18)
        var places = Array(stride(from: 0, to: first, by: part))
        let rest = size - first
        if rest > 0 { places += (0..<256).map { first + rest / 256 * $0 } }
        var buffer = [UInt8](repeating: 0, count: part)
        for place in places {
            let count = pread(file, &buffer, part, off_t(place))
            guard count > 0 else { continue }
            buffer.withUnsafeBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }
}
