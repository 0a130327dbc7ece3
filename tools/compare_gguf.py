#!/usr/bin/env python3
"""Checks GGUF files with the Python package `gguf`, an independent reader.

    compare_gguf.py FILE [SAME_IN_F32]

Every tensor of FILE must be readable and finite after dequantisation. The second file has the same weights in f32; `dwarfstar quantize
FILE SAME_IN_F32 --recipe f16 --type .=f32` makes it. Every tensor must then be equal in both files, bit for bit.
"""

import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, dequantize


def tensors(path):
    for tensor in GGUFReader(path).tensors:
        integer = tensor.tensor_type in (GGMLQuantizationType.I32, GGMLQuantizationType.I64)
        yield tensor.name, tensor.tensor_type.name, tensor.data if integer else dequantize(tensor.data, tensor.tensor_type)


def main():
    other = {name: values for name, _, values in tensors(sys.argv[2])} if len(sys.argv) > 2 else None
    kinds = {}
    for name, kind, values in tensors(sys.argv[1]):
        kinds[kind] = kinds.get(kind, 0) + 1
        if not np.isfinite(values).all():
            sys.exit(f"{sys.argv[1]}: {name} ({kind}) has values that are not finite")
        if other is not None and not np.array_equal(values, other[name]):
            sys.exit(f"{name} ({kind}): {np.count_nonzero(values != other[name])} of {values.size} values differ")
    print(f"{sys.argv[1]}: {kinds}", "equal" if other is not None else "finite")


main()
