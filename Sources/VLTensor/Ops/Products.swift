import CVLKernels

/// Activations, and the forms of them that products have asked for: each is made once and shared by all products that
/// read it.
///
/// Lives in the workspace.
package struct Activations {
    /// Forms that are made when the first product wants them.
    struct Forms {
        /// Rounded to bfloat16, and elements from one of these rows to the next.
        var rounded: UnsafeMutablePointer<UInt16>?
        var roundedStride = 0
        /// Quantized to 8 bits, rows of `vl_q8_row_bytes`.
        var quantized: UnsafeMutableRawPointer?
        /// Some rows with their columns in the order that a product asked for last, and the forms of these.
        var order: UnsafePointer<Int32>?
        var orderedFirst = 0
        var orderedCount = 0
        var ordered: UnsafeMutablePointer<Float>?
        var orderedForms: UnsafeMutablePointer<Forms>?
    }

    package let matrix: Matrix
    fileprivate let forms: UnsafeMutablePointer<Forms>
    /// Whether products read the float32 values whatever the run's mode is.
    fileprivate let isExact: Bool
}

/// Products that run in one parallel region.
///
/// Made by `Run.products`, lives in the workspace.
package struct ProductList {
    private let jobs: UnsafeMutablePointer<vl_product_job>
    private let capacity: Int
    private var count = 0

    fileprivate init(_ jobs: UnsafeMutablePointer<vl_product_job>, capacity: Int) {
        self.jobs = jobs
        self.capacity = capacity
    }

    fileprivate mutating func append(_ product: vl_product, _ kernel: @escaping vl_product_fn) {
        precondition(count < capacity, "more products than the \(capacity) that were announced")
        jobs[count] = vl_product_job(product: product, kernel: kernel, unit_columns: 1, first_unit: 0)
        count += 1
    }

    fileprivate func run(on pool: ThreadPool) {
        var list = vl_product_jobs(jobs: jobs, count: Int64(count))
        withUnsafeMutablePointer(to: &list) { pointer in
            let units = vl_product_plan(pointer, Int32(pool.threads))
            pool.run(Int(units), UnsafeMutableRawPointer(pointer), vl_product_unit)
        }
    }
}

extension Run {
    /// Activations for products with weights of any type.
    ///
    /// - Parameter isExact: keeps the products in float32 whatever the run's mode is.
    package func activations(_ x: Matrix, isExact: Bool = false) -> Activations {
        let forms = workspace.allocate(Activations.Forms.self, 1)
        forms.initialize(to: Activations.Forms())
        return Activations(matrix: x, forms: forms, isExact: isExact || compute == .float32)
    }

    /// The rows of `x` rounded to bfloat16.
    private func rounded(_ x: Activations) -> UnsafeMutablePointer<UInt16> {
        if let made = x.forms.pointee.rounded { return made }
        let matrix = x.matrix
        let made = workspace.allocate(UInt16.self, matrix.rows * matrix.columns)
        let convert = kernels.pointee.bf16_from_f32
        eachRow(matrix.rows, matrix.columns) { row in
            convert(made + row * matrix.columns, matrix[row: row], Int64(matrix.columns))
        }
        x.forms.pointee.rounded = made
        x.forms.pointee.roundedStride = matrix.columns
        return made
    }

    /// The rows of `x` quantized to 8 bits.
    private func quantized(_ x: Activations) -> UnsafeMutableRawPointer {
        if let made = x.forms.pointee.quantized { return made }
        let matrix = x.matrix
        let stride = Int(vl_q8_row_bytes(Int64(matrix.columns)))
        let made = UnsafeMutableRawPointer(workspace.allocate(UInt8.self, matrix.rows * stride))
        let convert = kernels.pointee.q8_from_f32
        eachRow(matrix.rows, matrix.columns) { row in
            convert(made + row * stride, matrix[row: row], Int64(matrix.columns))
        }
        x.forms.pointee.quantized = made
        return made
    }

    /// Some rows of `x` with their columns in a matrix's order.
    ///
    /// What was made last is kept: matrices that read the same input have, as a rule, the same order.
    private func ordered(
        _ x: Activations,
        _ rows: Range<Int>,
        _ order: UnsafePointer<Int32>
    ) -> Activations {
        let (known, columns) = (x.forms.pointee, x.matrix.columns)
        if known.order == order, known.orderedFirst == rows.lowerBound, known.orderedCount == rows.count,
            let made = known.ordered, let forms = known.orderedForms
        {
            let matrix = Matrix(made, rows: rows.count, columns: columns)
            return Activations(matrix: matrix, forms: forms, isExact: x.isExact)
        }
        let made = activations(workspace.matrix(rows.count, columns), isExact: x.isExact)
        eachRow(rows.count, columns) { row in
            let source = x.matrix[row: rows.lowerBound + row]
            let target = made.matrix[row: row]
            for column in 0..<columns { target[column] = source[Int(order[column])] }
        }
        x.forms.pointee.order = order
        x.forms.pointee.orderedFirst = rows.lowerBound
        x.forms.pointee.orderedCount = rows.count
        x.forms.pointee.ordered = made.matrix.pointer
        x.forms.pointee.orderedForms = made.forms
        return made
    }

    /// An empty list for at most `capacity` products.
    package func products(_ capacity: Int) -> ProductList {
        ProductList(workspace.allocate(vl_product_job.self, capacity), capacity: capacity)
    }

    /// Adds `out` = `x` W^T + b to a list: `x` [rows, input], `out` [rows, output].
    package func append(_ x: Activations, _ linear: Linear, to out: Matrix, _ list: inout ProductList) {
        append(x, rows: 0..<x.matrix.rows, linear.weight, bias: linear.bias, to: out, &list)
    }

    /// Adds the product of some rows of `x` with W^T to a list; `out` has as many rows as the range.
    package func append(
        _ x: Activations,
        rows: Range<Int>,
        _ weight: WeightMatrix,
        bias: WeightVector? = nil,
        to out: Matrix,
        _ list: inout ProductList
    ) {
        precondition(
            x.matrix.columns == weight.columns && out.columns == weight.rows && out.rows == rows.count,
            "a product of [\(rows.count), \(x.matrix.columns)] and [\(weight.rows), \(weight.columns)] into [\(out.rows), \(out.columns)]"
        )
        if let observer, weight.origin != nil { observer.product(reads: x.matrix[rows: rows], with: weight) }
        if let order = weight.inputOrder {
            let part = ordered(x, rows, order)
            return append(part, rows: 0..<rows.count, weight.ordered, bias: bias, to: out, &list)
        }
        var a = UnsafeRawPointer(x.matrix[row: rows.lowerBound])
        var stride = x.matrix.stride
        var kernel = wideKernel(weight.type)
        if !x.isExact {
            if weight.type == .bfloat16, let narrow = kernels.pointee.nt_bf16_bf16 {
                let values = rounded(x)
                stride = x.forms.pointee.roundedStride
                a = UnsafeRawPointer(values + rows.lowerBound * stride)
                kernel = narrow
            } else if let integer = vl_product_q8(kernels, weight.type.kernelType) {
                stride = Int(vl_q8_row_bytes(Int64(x.matrix.columns)))
                a = UnsafeRawPointer(quantized(x) + rows.lowerBound * stride)
                kernel = integer
            }
        }
        readBytes += weight.byteCount
        let product = vl_product(
            a: a,
            a_stride: Int64(stride),
            b: weight.pointer,
            b_stride: Int64(weight.columns),
            c: out.pointer,
            c_stride: Int64(out.stride),
            bias: bias?.pointer,
            rows: Int64(rows.count),
            columns: Int64(weight.rows),
            depth: Int64(weight.columns),
            accumulate: 0,
            ahead: 0
        )
        list.append(product, kernel)
    }

    /// The kernel for float32 activations and weights of a type.
    private func wideKernel(_ type: DType) -> vl_product_fn {
        switch type {
        case .float32: kernels.pointee.nt_f32_f32
        case .bfloat16: kernels.pointee.nt_f32_bf16
        case .float16: kernels.pointee.nt_f32_f16
        default:
            switch vl_product_f32(kernels, type.kernelType) {
            case let kernel?: kernel
            case nil: preconditionFailure("no product with \(type.rawValue)")
            }
        }
    }

    /// Adds `out` = `x` B to a list, where B is [input, output] as stored: `x` [rows, input], `out` [rows, output].
    package func appendTransposed(
        _ x: Matrix,
        _ weight: WeightMatrix,
        to out: Matrix,
        _ list: inout ProductList
    ) {
        precondition(
            x.columns == weight.rows && out.columns == weight.columns && out.rows == x.rows,
            "a product of [\(x.rows), \(x.columns)] and [\(weight.rows), \(weight.columns)] into [\(out.rows), \(out.columns)]"
        )
        precondition(weight.inputOrder == nil, "a product along the rows of reordered columns")
        let product = vl_product(
            a: UnsafeRawPointer(x.pointer),
            a_stride: Int64(x.stride),
            b: weight.pointer,
            b_stride: Int64(weight.columns),
            c: out.pointer,
            c_stride: Int64(out.stride),
            bias: nil,
            rows: Int64(x.rows),
            columns: Int64(weight.columns),
            depth: Int64(weight.rows),
            accumulate: 0,
            ahead: 0
        )
        switch weight.type {
        case .float32: list.append(product, kernels.pointee.nn_f32_f32)
        case .bfloat16: list.append(product, kernels.pointee.nn_f32_bf16)
        case .float16: list.append(product, kernels.pointee.nn_f32_f16)
        default: preconditionFailure("a product along the rows of \(weight.type.rawValue)")
        }
        readBytes += weight.byteCount
    }

    /// Runs all products of a list on all threads.
    package func perform(_ list: ProductList) {
        list.run(on: pool)
    }

    /// y = x W^T + b, [rows, output].
    package func linear(_ x: Activations, _ linear: Linear) -> Matrix {
        let out = workspace.matrix(x.matrix.rows, linear.outputSize)
        var list = products(1)
        append(x, linear, to: out, &list)
        perform(list)
        return out
    }

    /// y = x W^T + b, [rows, output].
    package func linear(_ x: Matrix, _ linear: Linear) -> Matrix {
        self.linear(activations(x), linear)
    }

    /// The same in float32 whatever the run's mode is: for gates, whose ties decide which experts run.
    package func exactLinear(_ x: Matrix, _ linear: Linear) -> Matrix {
        self.linear(activations(x, isExact: true), linear)
    }
}

extension Run {
    /// Adds the product of some columns of `x` with W^T to a list: a head's part of a row.
    package func append(
        _ x: Activations,
        columns: Range<Int>,
        _ weight: WeightMatrix,
        to out: Matrix,
        _ list: inout ProductList
    ) {
        precondition(columns.upperBound <= x.matrix.columns, "columns \(columns) of \(x.matrix.columns)")
        let part = activations(x.matrix[columns: columns], isExact: x.isExact)
        if weight.type == .bfloat16, !x.isExact, kernels.pointee.nt_bf16_bf16 != nil {
            part.forms.pointee.rounded = rounded(x) + columns.lowerBound
            part.forms.pointee.roundedStride = x.forms.pointee.roundedStride
        }
        append(part, rows: 0..<x.matrix.rows, weight, to: out, &list)
    }
}
