import ArgumentParser
import DeepSeekVL

/// The program: parses, calls the library, prints.
@main
struct DeepSeekVLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deepseek-vl",
        abstract: "Ask DeepSeek vision-language models about pictures, on a CPU.",
        discussion: """
            The bundled model answers when no --model is given:

              deepseek-vl ask --image Examples/shapes.png --draw answer.png 'Where is the green cross?'

            Exit status: 0, 1 (failed) or 2 (wrong usage). Messages go to standard error.
            """,
        version: "0.1.0",
        subcommands: commands
    )

    /// What the program can do; `pull` and `serve` only in a build with the trait `Network`, which is the default.
    private static var commands: [any ParsableCommand.Type] {
        var commands: [any ParsableCommand.Type] = [
            AskCommand.self,
            ChatCommand.self,
            CompleteCommand.self,
            PerplexityCommand.self,
            EvalCommand.self,
            BenchCommand.self,
            InspectCommand.self,
            ConvertCommand.self,
            QuantizeCommand.self,
            ImatrixCommand.self,
            VerifyCommand.self,
            TokenizeCommand.self,
            PreprocessCommand.self,
        ]
        #if Network
        commands.append(PullCommand.self)
        commands.append(ServeCommand.self)
        #endif
        return commands
    }

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as DeepSeekVLError {
            Terminal.fail(error.description, usage: error.isUsage)
        } catch let error as CommandFailure {
            Terminal.fail(error.description, usage: false)
        } catch {
            let code = exitCode(for: error)
            // Help and the version are no errors: they go to standard output with status 0.
            if code == .success {
                print(fullMessage(for: error))
                Terminal.exit(0)
            }
            if code == .validationFailure {
                Terminal.fail(message(for: error), usage: true)
            }
            Terminal.fail(message(for: error), usage: false)
        }
    }
}

/// A failure that a command words itself.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
}
