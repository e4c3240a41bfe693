import VLTensor

/// Two linear layers with an activation between: a vision block's MLP (`fc1` and `fc2`, `lin1` and `lin2` in SAM).
package struct FeedForward: Sendable {
    let first: Linear
    let second: Linear
    let activation: Activation

    package init(
        _ size: Int,
        _ innerSize: Int,
        _ activation: Activation,
        names: (String, String) = ("fc1", "fc2"),
        _ weights: Weights
    ) throws(LoadError) {
        (first, second) = try weights.linears(names, size, innerSize)
        self.activation = activation
    }

    /// [rows, size] to [rows, size].
    package func callAsFunction(_ x: Matrix, _ run: Run) -> Matrix {
        let inner = run.linear(x, first)
        run.apply(activation, to: inner)
        return run.linear(inner, second)
    }
}

/// down(silu(gate(x)) * up(x)): the feed-forward of Llama and DeepSeek (`gate_proj`, `up_proj`, `down_proj`).
package struct GatedFeedForward: Sendable {
    let gate: Linear
    let up: Linear
    let down: Linear

    init(_ size: Int, _ innerSize: Int, bias: Bool = false, _ weights: Weights) throws(LoadError) {
        gate = try weights["gate_proj"].linear(size, innerSize, bias: bias)
        up = try weights["up_proj"].linear(size, innerSize, bias: bias)
        down = try weights["down_proj"].linear(innerSize, size, bias: bias)
    }

    /// [rows, size] to [rows, size].
    func callAsFunction(_ x: Activations, _ run: Run) -> Matrix {
        let rows = x.matrix.rows
        let gated = run.workspace.matrix(rows, gate.outputSize)
        let raised = run.workspace.matrix(rows, up.outputSize)
        var list = run.products(2)
        run.append(x, gate, to: gated, &list)
        run.append(x, up, to: raised, &list)
        run.perform(list)
        run.siluMultiply(gated, raised)
        return run.linear(gated, down)
    }
}
