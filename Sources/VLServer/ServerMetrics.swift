import DeepSeekVL
import Synchronization
import VLEngine

/// Counts of requests, and all that the engine counts, as Prometheus reads it.
package final class ServerMetrics: Sendable {
    private struct Key: Hashable {
        let route: String
        let status: Int
    }

    private let requests = Mutex<[Key: Int]>([:])
    private let open = Mutex(0)

    package init() {}

    /// Requests that are being served.
    package var openCount: Int { open.withLock { $0 } }

    func begin() { open.withLock { $0 += 1 } }

    func end() { open.withLock { $0 -= 1 } }

    func count(_ route: String, _ status: Int) {
        requests.withLock { $0[Key(route: route, status: status), default: 0] += 1 }
    }

    /// The text for Prometheus.
    ///
    /// - Parameter model: the label of all values.
    package func text(_ statistics: ServingStatistics, model: String) -> String {
        var page = MetricsPage(label: "model=\"\(MetricsPage.escaped(model))\"")
        let counts = requests.withLock { $0 }.sorted {
            ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status)
        }
        page.head("requests_total", "counter", "Requests by route and status.")
        for (key, count) in counts {
            page.line("requests_total", "route=\"\(key.route)\",status=\"\(key.status)\"", "\(count)")
        }
        page.value("open_requests", "gauge", "Requests that are being served.", openCount)
        let batch = statistics.batch
        page.value("queue_length", "gauge", "Answers that wait for room.", batch.waiting)
        page.value("running", "gauge", "Answers that are being given.", batch.running)
        page.value("steps_total", "counter", "Steps of the model.", batch.steps)
        page.value(
            "step_rows_total",
            "counter",
            "Rows of all steps: their quotient is the batch size.",
            batch.rows
        )
        page.value(
            "cache_blocks_total",
            "gauge",
            "Blocks of keys and values that there are.",
            batch.blockLimit
        )
        page.value("cache_blocks_used", "gauge", "Blocks that hold something.", batch.blocksInUse)
        page.value(
            "cache_blocks_reserved",
            "gauge",
            "Blocks that running answers have or may ask for.",
            batch.blocksReserved
        )
        page.value("cache_blocks_prefix", "gauge", "Blocks that are kept for others.", batch.blocksCached)
        page.value("cache_block_bytes", "gauge", "Bytes of a block.", batch.blockBytes)
        page.value(
            "prompt_tokens_total",
            "counter",
            "Tokens of prompts that were computed.",
            batch.promptTokens
        )
        page.value(
            "cached_tokens_total",
            "counter",
            "Tokens of prompts that were kept from others.",
            batch.cachedTokens
        )
        page.value(
            "generation_tokens_total",
            "counter",
            "Steps of answers behind their first token.",
            batch.decodedTokens
        )
        page.value("image_tiles_total", "counter", "Tiles of pictures that were encoded.", batch.encodedTiles)
        page.value("image_hits_total", "counter", "Pictures that were encoded before.", batch.pictureHits)
        page.value("image_misses_total", "counter", "Pictures that were not.", batch.pictureMisses)
        page.value("image_cache_bytes", "gauge", "Bytes of encoded pictures.", batch.featureBytes)
        page.value("expired_total", "counter", "Answers whose time was over.", statistics.expired)
        page.head("answers_total", "counter", "Answers by how they ended.")
        for (reason, count) in statistics.finished.sorted(by: { $0.key < $1.key }) {
            page.line("answers_total", "reason=\"\(reason)\"", "\(count)")
        }
        page.head("refused_total", "counter", "Requests that were not taken, by reason.")
        for (reason, count) in statistics.refused.sorted(by: { $0.key < $1.key }) {
            page.line("refused_total", "reason=\"\(reason)\"", "\(count)")
        }
        page.histogram("time_to_first_token_seconds", "From request to first token.", statistics.firstToken)
        page.histogram(
            "inter_token_seconds",
            "From one token of an answer to the next.",
            statistics.betweenTokens
        )
        return page.text
    }
}

/// Lines of Prometheus' text format.
private struct MetricsPage {
    let label: String
    private(set) var text = ""

    init(label: String) { self.label = label }

    static func escaped(_ text: String) -> String {
        text.flatMap { $0 == "\\" || $0 == "\"" ? ["\\", $0] : $0.isNewline ? ["\\", "n"] : [$0] }
            .map(String.init).joined()
    }

    mutating func head(_ name: String, _ type: String, _ help: String) {
        text += "# HELP deepseek_vl_\(name) \(help)\n# TYPE deepseek_vl_\(name) \(type)\n"
    }

    mutating func line(_ name: String, _ labels: String, _ value: String) {
        text += "deepseek_vl_\(name){\(label)\(labels.isEmpty ? "" : ",")\(labels)} \(value)\n"
    }

    mutating func value(_ name: String, _ type: String, _ help: String, _ value: Int) {
        head(name, type, help)
        line(name, "", "\(value)")
    }

    mutating func histogram(_ name: String, _ help: String, _ values: Histogram) {
        head(name, "histogram", help)
        var count = 0
        for (bound, number) in zip(values.bounds, values.counts) {
            count += number
            line(name + "_bucket", "le=\"\(bound)\"", "\(count)")
        }
        line(name + "_bucket", "le=\"+Inf\"", "\(values.count)")
        line(name + "_sum", "", "\(values.sum)")
        line(name + "_count", "", "\(values.count)")
    }
}
