/// The formats of texts whose form alone says whether they are right, as patterns.
enum TextFormat {
    /// The pattern of a format; nil for one that is not known.
    ///
    /// All texts of a pattern are right; a few right ones are left out: 29 February, leap seconds, quoted mail addresses.
    static func pattern(_ format: String) -> String? { patterns.first { $0.name == format }?.pattern }

    static var names: [String] { patterns.map(\.name) }

    private static let day =
        "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    private static let date = "[0-9]{4}-" + day
    private static let time =
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    private static let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    private static let octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    private static let group = "[0-9a-fA-F]{1,4}"

    private static let patterns: [(name: String, pattern: String)] = [
        ("date", "^\(date)$"),
        ("time", "^\(time)$"),
        ("date-time", "^\(date)T\(time)$"),
        (
            "duration",
            "^P([0-9]{1,6}W|[0-9]{1,6}Y([0-9]{1,6}M([0-9]{1,6}D)?)?|[0-9]{1,6}M([0-9]{1,6}D)?|[0-9]{1,6}D|"
                + "([0-9]{1,6}D)?T([0-9]{1,6}H([0-9]{1,6}M([0-9]{1,6}S)?)?|[0-9]{1,6}M([0-9]{1,6}S)?|[0-9]{1,6}S))$"
        ),
        (
            "email",
            "^[a-zA-Z0-9_+-]{1,32}(\\.[a-zA-Z0-9_+-]{1,30})?@[a-zA-Z0-9]{1,63}(\\.[a-zA-Z0-9]{2,63}){1,2}$"
        ),
        ("hostname", "^\(label)(\\.\(label)){0,3}$"),
        ("ipv4", "^\(octet)(\\.\(octet)){3}$"),
        (
            "ipv6",
            "^((\(group):){7}\(group)|(\(group):){1,7}:|(\(group):){1,6}:\(group)|(\(group):){1,5}(:\(group)){1,2}|"
                + "(\(group):){1,4}(:\(group)){1,3}|(\(group):){1,3}(:\(group)){1,4}|(\(group):){1,2}(:\(group)){1,5}|"
                + "\(group):(:\(group)){1,6}|:((:\(group)){1,7}|:))$"
        ),
        ("uuid", "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
    ]
}
