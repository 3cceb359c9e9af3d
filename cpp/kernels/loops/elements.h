// Elements of arrays by their addresses, which need not be aligned.
#pragma once

#include <cstring>

#include "simd/vec.h"
#include "tasks/arrays.h"

namespace fastnorm {
namespace FASTNORM_TARGET {

// Copies elements of `size` bytes, `step` bytes apart, to packed memory: see kernels/copies/gather.h.
void gather(const char* source, std::int64_t step, int size, char* packed, std::int64_t count);

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm

FASTNORM_TARGET_BEGIN

FASTNORM_OUTLINE std::int64_t offset_along_axes(
    std::int64_t index, int axes, const std::int64_t* extent, const std::int64_t* stride
) {
    std::int64_t offset = 0;
    for (int axis = axes - 1; axis > 0; --axis) {
        offset += index % extent[axis] * stride[axis];
        index /= extent[axis];
    }
    return axes > 0 ? offset + index * stride[0] : 0;  // what is left is the place along the first axis
}

// Byte offset of position `index` (C order) along axes of the given extents and strides.
FASTNORM_INLINE std::int64_t strided_offset(
    std::int64_t index, int axes, const std::int64_t* extent, const std::int64_t* stride
) {
    return axes == 1 ? index * stride[0] : offset_along_axes(index, axes, extent, stride);
}

template <class T>
FASTNORM_INLINE T read_element(const char* address) {
    T element;
    std::memcpy(&element, address, sizeof element);
    return element;
}
// The element in the type it is computed in, and back.
template <class T>
FASTNORM_INLINE compute_t<T> read_widened(const char* address) {
    return widen(read_element<T>(address));
}
template <class T>
FASTNORM_INLINE void write_narrowed(char* address, compute_t<T> value) {
    T element;
    narrow(value, element);
    std::memcpy(address, &element, sizeof element);
}

FASTNORM_TARGET_END
