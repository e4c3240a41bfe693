import DeepSeekVL

/// What a chat says besides the model's answers.
enum ChatTexts {
    static func help(seesPictures: Bool) -> String {
        var rows = [
            ("/new, new", "begin a new conversation; the system text stays"),
            ("/regenerate", "answer the last question again"),
            ("/undo", "take the last question and its answer back"),
            ("/system [TEXT|-]", "show, set or remove the text put before the conversation"),
            ("/set [NAME [VALUE]]", "show or change settings: temperature, max-tokens, tiling, …"),
            ("/tokens", "what the conversation costs, and what is left"),
            ("/save FILE, /load FILE", "write or read conversation and settings as JSON"),
            ("/help, help", "this list"),
            ("exit, quit, Ctrl-D", "leave"),
        ]
        if seesPictures {
            rows.insert(("/image [PATH|-]", "list, add or put away pictures for the next question"), at: 0)
            rows.insert(("/draw FILE", "draw the last answer's boxes as .png or .svg"), at: rows.count - 2)
        }
        var text = rows.map { "  \($0.0.padded(to: 24))\($0.1)\n" }.joined()
        if seesPictures {
            text += "A picture's path, typed or dropped, alone or before the question, adds the picture.\n"
            text += "<image> in a question asks for the path of each picture that it speaks of.\n"
        }
        return text
            + "A line that ends with \\ goes on, as do all lines between \"\"\" and \"\"\". Ctrl-C stops an answer.\n"
    }

    static func settings(_ settings: ChatSettings, _ names: [ChatSettings.Name]) -> String {
        names.map { name in
            "\(name.rawValue.padded(to: 20))\(settings.value(of: name).padded(to: 12))  \(name.explanation)\n"
        }.joined()
    }

    /// A table of turns and pictures, and what is left.
    static func costs(_ report: TokenReport) -> String {
        var text = "turn    text  images  answer   total\n"
        func row(_ name: String, _ values: [Int]) {
            text += name.padded(to: 4) + values.map { "\($0)".padded(toFront: 8) }.joined() + "\n"
        }
        for turn in report.turns {
            let images = turn.images.reduce(0) { $0 + $1.tokens }
            row("\(turn.number + 1)", [turn.text, images, turn.answer, turn.total])
            for image in turn.images {
                text +=
                    "      \(image.name): \(image.tilesAcross) x \(image.tilesDown) tiles and a view of the whole, \(image.tokens) tokens\n"
            }
        }
        if report.system > 0 { text += "system text: \(report.system)\n" }
        if report.forgottenTurns > 0 { text += "turns that no longer fit: \(report.forgottenTurns)\n" }
        return text
            + "\(report.used) of \(report.context) tokens used, \(report.left) left; \(report.cached) computed and kept\n"
    }

    static func dropped(_ range: Range<Int>) -> String {
        let turns =
            range.count == 1
            ? "turn \(range.lowerBound + 1) no longer fits and is"
            : "turns \(range.lowerBound + 1) to \(range.upperBound) no longer fit and are"
        return "(\(turns) left out from now on)"
    }

    static func tilingChanged(_ isTiled: Bool) -> String {
        isTiled
            ? "(with one or two pictures these are tiled again and read anew; '/set tiling always' keeps them as they are)"
            : "(from the third picture on none is tiled, so that the earlier ones are read anew and less finely; '/set tiling always' keeps them as they are)"
    }

    /// The beginning of a text on one line.
    static func excerpt(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > 60 ? line.prefix(59) + "…" : line
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }

    fileprivate func padded(toFront width: Int) -> String {
        String(repeating: " ", count: max(0, width - count)) + self
    }
}
