import VLTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How positions become angles beyond the trained length (`rope_scaling`).
package enum RopeScaling: Sendable, Equatable {
    /// Positions as they are.
    case none
    /// Positions divided by a factor.
    case linear(factor: Double)
    /// YaRN (arXiv:2309.00071): high frequencies as they are, low ones divided, a ramp between.
    case yarn(YaRN)

    /// The fields of a `rope_scaling` of type "yarn".
    package struct YaRN: Sendable, Equatable {
        package var factor: Double
        package var originalMaxPositions: Int
        package var betaFast: Double
        package var betaSlow: Double
        package var mScale: Double
        package var mScaleAllDimensions: Double
        /// Multiplies cosine and sine in place of what the scales give.
        package var attentionFactor: Double?

        /// 0.1 m ln(factor) + 1, and 1 for a factor up to 1 (`yarn_get_mscale`).
        package static func mScale(factor: Double, _ m: Double) -> Double {
            factor <= 1 ? 1 : 0.1 * m * log(factor) + 1
        }
    }
}

/// Rotary position embedding: the angles of a position, in float32 whatever the weights are.
///
/// The official class keeps a table in the model's type, which after `.to(bfloat16)` rounds the frequencies and the
/// positions above 256; see docs/numerics.md.
package struct Rotary: Sendable {
    /// Rotated elements of a head.
    package let size: Int
    /// Angle a position adds, for each pair.
    private let inverseFrequencies: [Float]
    private let positionDivisor: Float
    /// Multiplies cosine and sine.
    private let magnitude: Float

    package init(size: Int, theta: Double, scaling: RopeScaling) {
        self.size = size
        let half = size / 2
        // The powers are taken in float32, as torch does.
        let plain = (0..<half).map { 1 / powf(Float(theta), Float(2 * $0) / Float(size)) }
        switch scaling {
        case .none:
            (inverseFrequencies, positionDivisor, magnitude) = (plain, 1, 1)
        case .linear(let factor):
            (inverseFrequencies, positionDivisor, magnitude) = (plain, Float(factor), 1)
        case .yarn(let yarn):
            func correction(_ rotations: Double) -> Double {
                Double(size) * log(Double(yarn.originalMaxPositions) / (rotations * 2 * Double.pi))
                    / (2 * log(theta))
            }
            let low = max(floor(correction(yarn.betaFast)), 0)
            var high = min(ceil(correction(yarn.betaSlow)), Double(size - 1))
            if low == high { high += 0.001 }
            inverseFrequencies = (0..<half).map { index in
                let stretched = 1 / (Float(yarn.factor) * powf(Float(theta), Float(2 * index) / Float(size)))
                let ramp = min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
                let kept = 1 - ramp
                return stretched * (1 - kept) + plain[index] * kept
            }
            positionDivisor = 1
            magnitude = Float(
                yarn.attentionFactor
                    ?? RopeScaling.YaRN.mScale(factor: yarn.factor, yarn.mScale)
                    / RopeScaling.YaRN.mScale(factor: yarn.factor, yarn.mScaleAllDimensions)
            )
        }
    }

    /// Cosines and sines for rows at the given positions, in the workspace.
    package func angles(_ positions: UnsafeBufferPointer<Int32>, _ run: Run) -> RotaryAngles {
        let half = size / 2
        let cosine = run.workspace.matrix(positions.count, half)
        let sine = run.workspace.matrix(positions.count, half)
        run.eachRow(positions.count, size * 16) { row in
            let position = Float(positions[row]) / positionDivisor
            for index in 0..<half {
                let angle = position * inverseFrequencies[index]
                cosine[row: row][index] = cosf(angle) * magnitude
                sine[row: row][index] = sinf(angle) * magnitude
            }
        }
        return RotaryAngles(cosine: cosine, sine: sine)
    }
}
