import VLTensor

/// x / sqrt(mean(x^2) + epsilon) * weight.
package struct RMSNorm: Sendable {
    let weight: WeightVector
    let epsilon: Float

    init(_ size: Int, _ epsilon: Float, _ weights: Weights) throws(LoadError) {
        weight = try weights.vector("weight", size)
        self.epsilon = epsilon
    }

    /// A new matrix of the shape of `x`.
    func callAsFunction(_ x: Matrix, _ run: Run) -> Matrix { run.rmsNorm(x, weight, epsilon: epsilon) }

    /// Normalises `x` itself.
    func inPlace(_ x: Matrix, _ run: Run) { run.rmsNormInPlace(x, weight, epsilon: epsilon) }
}

/// (x - mean) / sqrt(variance + epsilon) * weight + bias.
package struct LayerNorm: Sendable {
    let weight: WeightVector
    let bias: WeightVector
    let epsilon: Float

    init(_ size: Int, _ epsilon: Float, _ weights: Weights) throws(LoadError) {
        weight = try weights.vector("weight", size)
        bias = try weights.vector("bias", size)
        self.epsilon = epsilon
    }

    /// A new matrix of the shape of `x`.
    func callAsFunction(_ x: Matrix, _ run: Run) -> Matrix {
        run.layerNorm(x, weight, bias, epsilon: epsilon)
    }
}
