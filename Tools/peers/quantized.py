"""Compares two quantized GGUF files of one source, tensor by tensor: types, equal bytes, squared error.

    quantized.py SOURCE.gguf OURS.gguf THEIRS.gguf [--tensors N]

Needs the package 'gguf' (and numpy). Prints how many tensors have the same type and the same bytes, and for the largest
tensors of other bytes the mean squared error of both against the source, relative to the source's mean square.
"""

import argparse

import gguf
import numpy


def values(tensor):
    if tensor.tensor_type == gguf.GGMLQuantizationType.F32:
        return tensor.data.astype(numpy.float64)
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("ours")
    parser.add_argument("theirs")
    parser.add_argument("--tensors", type=int, default=5)
    arguments = parser.parse_args()
    source, ours, theirs = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (arguments.source, arguments.ours, arguments.theirs)
    )
    assert ours.keys() == theirs.keys() == source.keys(), "other tensors"
    types = [name for name in ours if ours[name].tensor_type == theirs[name].tensor_type]
    same = [name for name in types if numpy.array_equal(ours[name].data, theirs[name].data)]
    print(f"{len(ours)} tensors, {len(types)} of the same type, {len(same)} of the same bytes")
    other = sorted(set(types) - set(same), key=lambda name: (-source[name].n_elements, name))
    for name in other[: arguments.tensors]:
        true = values(source[name]).ravel()
        errors = [numpy.mean((values(file[name]).ravel() - true) ** 2) / numpy.mean(true**2) for file in (ours, theirs)]
        print(f"{name} {ours[name].tensor_type.name}: ours {errors[0]:.4e}, theirs {errors[1]:.4e}, {errors[0] / errors[1]:.4f}")
    worse = 0
    for name in other:
        true = values(source[name]).ravel()
        errors = [numpy.sum((values(file[name]).ravel() - true) ** 2) for file in (ours, theirs)]
        worse += errors[0] > errors[1] * 1.0001
    print(f"of {len(other)} tensors with other bytes, ours has the larger error in {worse}")


if __name__ == "__main__":
    main()
