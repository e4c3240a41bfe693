import CVLKernels

/// How the GPTQ quantizer rounds.
package struct GPTQOptions: Sendable {
    /// In which order a row's columns are rounded, and which of them share a scale.
    package enum Order: Sendable {
        /// From the first to the last; groups of neighbours, whose scales are found on the way.
        case natural
        /// Columns with the largest activations first; groups of neighbours, whose scales are found before.
        case activation
        /// Columns with the largest activations first; groups of columns that follow each other in that order
        /// (`desc_act`), whose scales are found on the way.
        case activationGroups
    }

    /// Columns that share a scale; the last group of a row may have fewer.
    package var groupSize = 128
    package var order = Order.activation
    /// Whether 0 is the ninth of the 16 values; else each group has a zero of its own.
    package var isSymmetric = true
    /// Share of the mean of the Hessian's diagonal that is added to the diagonal.
    package var damping = 0.01
    /// A matrix that fewer rows of the calibration reached is rounded to the nearest.
    package var leastRows = 128
    /// Rounds all matrices to the nearest, without calibration: for comparisons.
    package var roundsToNearest = false

    package init() {}
}

/// How a rounded matrix is stored.
enum GPTQForm {
    /// AutoGPTQ's and GPTQModel's tensors.
    case packed
    /// Blocks of a GGUF file.
    case blocks

    /// What the values of a group are.
    func grid(isSymmetric: Bool) -> vl_gptq_form {
        if isSymmetric { return VL_GPTQ_SYMMETRIC }
        return self == .packed ? VL_GPTQ_ZERO : VL_GPTQ_MINIMUM
    }

    /// Why a matrix cannot be stored so; nil if it can.
    func obstacle(rows: Int, columns: Int) -> String? {
        switch self {
        case .packed:
            if columns % 8 != 0 { return "its \(columns) columns are no whole words of 8 codes" }
            if rows % 8 != 0 { return "its \(rows) rows are no whole words of 8 zeros" }
        case .blocks:
            if columns % 32 != 0 { return "its rows of \(columns) are no whole blocks" }
        }
        return nil
    }
}
