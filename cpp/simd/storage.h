// The element types an array may have, as the kernels see them, and the type each computes in.
//
// float16 and bfloat16 are storage only: they are widened to float on load and rounded to nearest even on
// store. The conversions below are the plain-integer forms; targets with conversion instructions override
// them in vec_*.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnorm {

struct float16 {
    std::uint16_t bits;
};
struct bfloat16 {
    std::uint16_t bits;
};

template <class T>
struct ComputeType {
    using type = float;
};
template <>
struct ComputeType<double> {
    using type = double;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

}  // namespace fastnorm
