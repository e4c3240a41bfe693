#if Network
import ArgumentParser
import Foundation
import VLJSON
import VLServer

/// Completes the options of `serve` by those of a file and of the environment.
enum ServeOptions {
    /// The command with all options: those of the command line go before others.
    static func completed(_ command: ServeCommand) throws -> ServeCommand {
        let all = CommandLine.arguments.dropFirst().drop { $0 != "serve" }.dropFirst()
        let environment = ProcessInfo.processInfo.environment
        let (options, names) = try known()
        let given = Set(
            all.prefix { $0 != "--" }.filter { $0.hasPrefix("--") }
                .compactMap { names[String($0.dropFirst(2).prefix { $0 != "=" })] }
        )
        let file = command.config ?? environment[OptionSources.variable("config")]
        let added: [String]
        do throws(OptionError) {
            added = try OptionSources.arguments(options, given: given, file: file, environment: environment)
        } catch {
            throw ValidationError(error.description)
        }
        guard !added.isEmpty else { return command }
        return try ServeCommand.parse(added + all)
    }

    /// All options that the command knows by the long names that its help prefers, and these by all long names.
    private static func known() throws -> (options: [String: OptionSources.Kind], names: [String: String]) {
        let help = try JSONValue(parsing: Array(ServeCommand._dumpHelp().utf8))
        var options: [String: OptionSources.Kind] = [:]
        var names: [String: String] = [:]
        for argument in help["command"]?["arguments"]?.asArray ?? [] {
            let long = (argument["names"]?.asArray ?? []).filter { $0["kind"]?.asString == "long" }
                .compactMap { $0["name"]?.asString }
            guard let name = long.first, name != "help", name != "version" else { continue }
            for other in long { names[other] = name }
            if argument["kind"]?.asString == "flag" {
                options[name] = .flag
            } else {
                options[name] = argument["isRepeating"]?.asBool == true ? .list : .value
            }
        }
        return (options, names)
    }
}
#endif
