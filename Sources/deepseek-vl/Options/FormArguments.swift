import ArgumentParser
import DeepSeekVL

/// What an answer has to be.
struct FormArguments: ParsableArguments {
    @Flag(
        name: .customLong("constrain-boxes"),
        help: "Lets only legal boxes be written: four numbers from 0 to 999 in order, all tags closed."
    )
    var constrainsBoxes = false

    /// The library's form of these.
    func form() throws -> AnswerForm { constrainsBoxes ? .legalBoxes : .free }
}
