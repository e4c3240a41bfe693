/// Sees what products read before they run: for statistics over a model's activations.
///
/// `Run.observer` holds one; without one a product costs a comparison with nil more.
package protocol ProductObserver: AnyObject {
    /// A product with `weight` is about to read `input`, [rows, columns] in float32, whatever type the kernel will
    /// round or quantize it to.
    ///
    /// Called on the run's thread, in the order of the products, which does not depend on the number of threads. Both are
    /// valid during the call only. `weight.origin` tells which tensor it is, and of a product with some of its rows (a
    /// head's part) the first of them. An expert's product reads just the rows that were routed to it; an expert that no
    /// row chose has no product.
    func product(reads input: Matrix, with weight: WeightMatrix)
}
