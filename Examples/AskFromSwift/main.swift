import DeepSeekVL

// The bundled model; for another, name its folder: DeepSeekModel.load("deepseek-vl2-tiny").
let model = try await DeepSeekModel.load()

// The answer as it grows. Leaving the loop early cancels the rest.
let question = "<image>\n<|grounding|>Describe the image."
for try await event in model.ask(question, pictures: [.file("Examples/shapes.png")]) {
    switch event {
    case .text(let text): print(text, terminator: "")
    case .finished(let answer):
        print()
        for object in answer.grounding { print(object.label, object.pixels) }
    default: break
    }
}

// Or all of it at once, with parameters.
var parameters = Parameters()
parameters.maxTokens = 32
let answer = try await model.answer(
    "What shape is red?",
    pictures: [.file("Examples/ring-and-cross.png")],
    parameters: parameters
)
print(answer.text, answer.usage.completionTokens)
