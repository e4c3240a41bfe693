"""Compares two GGUF files quantized with an importance matrix: weighted squared error of five tensors, types of all.

    weighted.py SOURCE.gguf OURS.gguf THEIRS.gguf IMATRIX.gguf [--tensors N]

Needs the package 'gguf' (and numpy). A tensor's error is the sum over its values of the column's importance (mean square
of what it meets) times the squared difference from the source, relative to the same sum over the source's squares.
"""

import argparse

import gguf
import numpy

from quantized import values


def importances(path):
    """Mean squares by tensor."""
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    result = {}
    for name, sums in found.items():
        if name.endswith(".in_sum2"):
            stem = name.removesuffix(".in_sum2")
            result[stem] = numpy.ravel(sums / numpy.maximum(found[stem + ".counts"].reshape(-1, 1), 1))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("source", "ours", "theirs", "imatrix"):
        parser.add_argument(name)
    parser.add_argument("--tensors", type=int, default=5)
    arguments = parser.parse_args()
    source, ours, theirs = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (arguments.source, arguments.ours, arguments.theirs)
    )
    weights = importances(arguments.imatrix)
    other = [name for name in ours if ours[name].tensor_type != theirs[name].tensor_type]
    print(f"{len(ours)} tensors, {len(other)} of other types" + "".join(f" {name}" for name in other[:3]))
    names = [name for name in sorted(weights) if name in ours and name not in other]
    worse, ratios = 0, []
    for index, name in enumerate(names):
        true = values(source[name])
        weight = weights[name][None, :]
        norm = numpy.sum(weight * true**2)
        errors = [numpy.sum(weight * (values(file[name]) - true) ** 2) / norm for file in (ours, theirs)]
        ratios.append(errors[0] / errors[1] if errors[1] else 1.0)
        worse += errors[0] > errors[1] * 1.0001
        if index % max(1, len(names) // arguments.tensors) == 0 and index // max(1, len(names) // arguments.tensors) < arguments.tensors:
            kind = ours[name].tensor_type.name
            print(f"{name} {kind}: ours {errors[0]:.4e}, theirs {errors[1]:.4e}, {ratios[-1]:.4f}")
    print(f"of {len(names)} tensors ours has the larger error in {worse}; mean ratio {numpy.mean(ratios):.4f}, largest {max(ratios):.4f}")


if __name__ == "__main__":
    main()
