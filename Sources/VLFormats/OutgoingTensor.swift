/// A tensor to write into a file.
package struct OutgoingTensor {
    package let name: String
    package let dtype: StoredDType
    /// Sizes, outermost first; empty for a scalar.
    package let shape: [Int]
    fileprivate let writeBytes: (inout TensorOutput) throws(FormatError) -> Void

    /// A tensor whose bytes are made when their turn comes.
    ///
    /// - Parameters:
    ///   - name: the name, which no other tensor of the file has.
    ///   - dtype: the element type.
    ///   - shape: sizes, outermost first.
    ///   - writeBytes: writes exactly the tensor's bytes (row-major, little-endian), in pieces of any
    ///     size.
    package init(
        name: String,
        dtype: StoredDType,
        shape: [Int],
        writeBytes: @escaping (inout TensorOutput) throws(FormatError) -> Void
    ) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.writeBytes = writeBytes
    }

    /// A tensor whose bytes lie in memory, which must stay as it is until the file is written.
    package init(name: String, dtype: StoredDType, shape: [Int], bytes: UnsafeRawBufferPointer) {
        self.init(name: name, dtype: dtype, shape: shape) { (output) throws(FormatError) in
            try output.write(bytes)
        }
    }

    /// A tensor of these bytes.
    package init(name: String, dtype: StoredDType, shape: [Int], bytes: [UInt8]) {
        self.init(name: name, dtype: dtype, shape: shape) { (output) throws(FormatError) in
            try output.write(bytes)
        }
    }

    /// A tensor of a checkpoint under its own name or another.
    package init(_ stored: StoredTensor, name: String? = nil) {
        self.init(name: name ?? stored.name, dtype: stored.dtype, shape: stored.shape) {
            (output) throws(FormatError) in
            try output.write(stored.bytes)
        }
    }
}

/// Where a tensor's bytes go; refuses more than the tensor has.
package struct TensorOutput: ~Copyable {
    /// Bytes that are written anew at most after a kill, besides those of one tensor: less would be waits for the disk.
    private static let recordBytes = 1 << 19

    private var file: AtomicFile
    /// Bytes that the current tensor still lacks.
    private var missing = 0
    private var byteCount = 0
    private var current: OutgoingTensor?

    init(_ file: consuming AtomicFile) { self.file = file }

    /// Bytes written so far.
    var count: Int { file.count }

    /// Appends bytes to the tensor.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        guard bytes.count <= missing else { throw wrongSize(bytes.count - missing) }
        try file.write(bytes)
        missing -= bytes.count
    }

    /// Appends bytes to the tensor.
    package mutating func write(_ bytes: [UInt8]) throws(FormatError) {
        try bytes.span.withUnsafeBytes { (raw) throws(FormatError) in try write(raw) }
    }

    /// Appends all bytes of a tensor.
    mutating func write(_ tensor: OutgoingTensor, byteCount: Int) throws(FormatError) {
        current = tensor
        missing = byteCount
        self.byteCount = byteCount
        try tensor.writeBytes(&self)
        guard missing == 0 else { throw wrongSize(-missing) }
    }

    /// Notes what is written if it is much since the last note.
    mutating func record() throws(FormatError) {
        if file.unrecorded >= Self.recordBytes { try file.record() }
    }

    /// Appends bytes that belong to no tensor.
    mutating func writePlain(_ bytes: [UInt8]) throws(FormatError) { try file.write(bytes) }

    consuming func commit() throws(FormatError) { try file.commit() }

    private func wrongSize(_ excess: Int) -> FormatError {
        guard let current else { return .dataSize(file: file.path, expected: 0, found: excess) }
        return .tensor(
            current.name,
            file: file.path,
            .byteCount(
                expected: byteCount,
                found: byteCount + excess,
                shape: current.shape,
                dtype: current.dtype
            )
        )
    }
}
