import Testing
import VLText

@Suite struct ChatProgramTests {
    private let smol =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        + "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
        + "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

    @Test("programs are recognised by their parts, and others are none")
    func recognises() {
        #expect(ChatTemplate(program: smol) == .smolLM2)
        #expect(
            ChatTemplate(program: "{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>'}}")
                == .chatML
        )
        #expect(ChatTemplate(program: "<|im_start|>system\nYou are Qwen<|im_end|>") == ChatTemplate.none)
        #expect(
            ChatTemplate(program: "{{ 'Assistant: ' + message['content'] + eos_token }}") == .deepseek
        )
        #expect(
            ChatTemplate(program: "'<｜User｜>' '<｜Assistant｜>' '<｜end▁of▁sentence｜>'") == .deepseekV3
        )
        #expect(ChatTemplate(program: "[INST] {{ x }}") == ChatTemplate.none)
        #expect(
            ChatTemplate(program: nil) == ChatTemplate.none && ChatTemplate(program: "") == ChatTemplate.none
        )
    }

    @Test("SmolLM2's conversations are written as its own template does")
    func smolLM2() throws {
        func prompt(_ messages: [Message]) throws -> String {
            try ChatTemplate.smolLM2.prompt(messages, begin: "<|im_start|>", end: "<|im_end|>")
        }
        #expect(
            try prompt([Message(role: "user", content: " Hi\n")])
                == "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                + "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\n"
        )
        let turns = [
            Message(role: "system", content: "Be brief."), Message(role: "user", content: "A"),
            Message(role: "assistant", content: "B"), Message(role: "user", content: "C"),
            Message(role: "assistant", content: ""),
        ]
        #expect(
            try prompt(turns)
                == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nA<|im_end|>\n"
                + "<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"
        )
    }

    @Test("DeepSeek-V3's conversations have no spaces between their parts")
    func deepseekV3() throws {
        let turns = [
            Message(role: "system", content: "S"), Message(role: "user", content: "A"),
            Message(role: "assistant", content: "B"), Message(role: "user", content: "C"),
        ]
        #expect(
            try ChatTemplate.deepseekV3.prompt(turns, begin: "<b>", end: "<e>")
                == "<b>S<｜User｜>A<｜Assistant｜>B<e><｜User｜>C<｜Assistant｜>"
        )
    }

    @Test("a model without a known template refuses conversations and says what works")
    func none() {
        let error = #expect(throws: ConversationError.self) {
            try ChatTemplate.none.prompt([Message(role: "user", content: "A")], begin: "", end: "")
        }
        #expect(error?.description.contains("'complete' continues plain texts") == true)
    }
}
