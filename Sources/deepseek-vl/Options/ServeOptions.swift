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
        let options = try known()
        let given = Set(
            all.prefix { $0 != "--" }.filter { $0.hasPrefix("--") }
                .map { String($0.dropFirst(2).prefix { $0 != "=" }) }
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

    /// All options that the command knows, by their long names, as its help lists them.
    private static func known() throws -> [String: OptionSources.Kind] {
        let help = try JSONValue(parsing: Array(ServeCommand._dumpHelp().utf8))
        var options: [String: OptionSources.Kind] = [:]
        for argument in help["command"]?["arguments"]?.asArray ?? [] {
            let kind = argument["kind"]?.asString
            for name in argument["names"]?.asArray ?? [] where name["kind"]?.asString == "long" {
                guard let text = name["name"]?.asString, text != "help", text != "version" else { continue }
                if kind == "flag" {
                    options[text] = .flag
                } else if kind == "option" {
                    options[text] = argument["isRepeating"]?.asBool == true ? .list : .value
                }
            }
        }
        return options
    }
}
#endif
