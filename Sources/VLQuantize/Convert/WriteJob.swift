import VLFormats

/// What decides over the bytes of a file that is being made, besides the names, types and shapes that its header has.
enum WriteJob {
    /// Describes a job so that another of the same description makes the same bytes.
    ///
    /// Sources are told by device, number, size and time of change, and so is the program, as another one may round
    /// otherwise.
    ///
    /// - Parameters:
    ///   - kind: what is made.
    ///   - sources: paths of the files that are read.
    ///   - detail: what the header does not say.
    static func describe(
        _ kind: String,
        _ sources: [String],
        _ detail: String = ""
    ) throws(FormatError) -> String {
        var lines = [kind, detail]
        for source in sources { lines.append(try FileContents.identity(of: source)) }
        do throws(FormatError) { lines.append(try FileContents.identity(of: "/proc/self/exe")) } catch {
            // Not Linux: the program is taken to be the same.
        }
        return lines.joined(separator: "\n")
    }
}
