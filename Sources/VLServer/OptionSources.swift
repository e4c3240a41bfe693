#if Network
import Configuration
import VLFormats
import VLJSON

/// What is wrong with an option that the command line does not give.
package enum OptionError: Error, CustomStringConvertible {
    /// A name that is no option.
    case unknown(name: String, source: String)
    /// A value of another kind.
    case value(name: String, source: String, expected: String, found: String)
    /// The file cannot be read, or is no JSON object.
    case file(String)

    package var description: String {
        switch self {
        case .unknown(let name, let source):
            "\(source): '\(name)': expected an option of serve, found none of this name"
        case .value(let name, let source, let expected, let found):
            "\(source): '\(name)': expected \(expected), found \(found)"
        case .file(let text): text
        }
    }
}

/// Options from a file and from the environment, as arguments of the command line that come before those that are there:
/// flags go before the environment, and the environment goes before the file.
package enum OptionSources {
    /// What an option takes.
    package enum Kind: Sendable {
        /// A value.
        case value
        /// Any number of values.
        case list
        /// Nothing: it is there or not.
        case flag
    }

    /// What names of environment variables begin with.
    package static let prefix = "DEEPSEEK_VL_SERVE_"

    /// The variable of an option.
    package static func variable(_ name: String) -> String {
        prefix + name.uppercased().map { $0 == "-" ? "_" : $0 }.map(String.init).joined()
    }

    /// The arguments.
    ///
    /// - Parameters:
    ///   - options: all options by their long names, without dashes.
    ///   - given: those that the command line gives.
    ///   - file: a JSON object whose keys are names of options.
    /// - Throws: `OptionError`, which names the option and where it stands.
    package static func arguments(
        _ options: [String: Kind],
        given: Set<String>,
        file: String?,
        environment: [String: String]
    ) throws(OptionError) -> [String] {
        let names = Set(options.keys.map(variable))
        for name in environment.keys.sorted() where name.hasPrefix(prefix) && !names.contains(name) {
            throw .unknown(name: name, source: "environment")
        }
        let values = try file.map { path throws(OptionError) in try self.values(of: path, options) } ?? [:]
        let reader = ConfigReader(providers: [
            EnvironmentVariablesProvider(environmentVariables: environment)
                .prefixKeys(with: ConfigKey(["deepseek", "vl", "serve"])),
            InMemoryProvider(
                name: file,
                values: Dictionary(
                    uniqueKeysWithValues: values.map { (AbsoluteConfigKey([$0.key]), $0.value) }
                )
            ),
        ])
        var arguments: [String] = []
        for (name, kind) in options.sorted(by: { $0.key < $1.key }) where !given.contains(name) {
            let key = ConfigKey([name])
            switch kind {
            case .value:
                if let text = reader.string(forKey: key) { arguments.append("--\(name)=\(text)") }
            case .list:
                for text in reader.stringArray(forKey: key) ?? [] { arguments.append("--\(name)=\(text)") }
            case .flag:
                guard let text = reader.string(forKey: key) else { continue }
                guard text == "true" || text == "false" else {
                    let isVariable = environment[variable(name)] != nil
                    throw .value(
                        name: isVariable ? variable(name) : name,
                        source: isVariable ? "environment" : file ?? "",
                        expected: "true or false",
                        found: "'\(text.excerpt())'"
                    )
                }
                if text == "true" { arguments.append("--\(name)") }
            }
        }
        return arguments
    }

    private static func values(
        of path: String,
        _ options: [String: Kind]
    ) throws(OptionError) -> [String: ConfigValue] {
        let json: JSONValue
        do throws(FormatError) {
            json = try FileContents.readJSON(path, limit: 1 << 20)
        } catch {
            throw .file(error.description)
        }
        guard let object = json.asObject else {
            throw .file("\(path): expected an object of options, found \(json.summary)")
        }
        var values: [String: ConfigValue] = [:]
        for (name, value) in object {
            guard let kind = options[name] else { throw .unknown(name: name, source: path) }
            func wrong(_ expected: String) -> OptionError {
                .value(name: name, source: path, expected: expected, found: value.summary)
            }
            switch kind {
            case .value:
                guard let text = text(value) else { throw wrong("a text or a number") }
                values[name] = ConfigValue(.string(text), isSecret: false)
            case .list:
                let texts = value.asArray?.compactMap(text)
                guard let texts, texts.count == value.asArray?.count else { throw wrong("a list of texts") }
                values[name] = ConfigValue(.stringArray(texts), isSecret: false)
            case .flag:
                guard let flag = value.asBool else { throw wrong("true or false") }
                values[name] = ConfigValue(.string(flag ? "true" : "false"), isSecret: false)
            }
        }
        return values
    }

    private static func text(_ value: JSONValue) -> String? {
        if let text = value.asString { return text }
        if let number = value.asInt { return String(number) }
        return value.asDouble.map { String($0) }
    }
}
#endif
