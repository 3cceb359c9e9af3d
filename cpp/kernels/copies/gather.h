// Elements that lie in equal steps, gathered into packed memory: once for a target, in the object of copies.
#pragma once

#include <cstring>

#include "kernels/loops/elements.h"

FASTNORM_TARGET_BEGIN

// Unsigned integers of a size, at any address.
#if defined(__GNUC__) || defined(__clang__)
#define FASTNORM_ANYWHERE __attribute__((aligned(1), may_alias))
#else
#define FASTNORM_ANYWHERE
#endif
template <int Size>
struct Anywhere;
template <>
struct Anywhere<2> {
    typedef std::uint16_t type FASTNORM_ANYWHERE;
};
template <>
struct Anywhere<4> {
    typedef std::uint32_t type FASTNORM_ANYWHERE;
};
template <>
struct Anywhere<8> {
    typedef std::uint64_t type FASTNORM_ANYWHERE;
};

// Compilers make permutations of loops over a constant number of elements, at -O2 as well, where they know
// that source and target are apart.
constexpr int gathered_together = 16;
template <int Size>
FASTNORM_INLINE void gather_backwards(const char* __restrict source, char* __restrict target) {
    using Element = typename Anywhere<Size>::type;
    const auto from = reinterpret_cast<const Element*>(source);
    const auto to = reinterpret_cast<Element*>(target);
    for (int i = 0; i < gathered_together; ++i) to[i] = from[-i];
}
// Every second element: the lower halves of integers of twice the size.
template <int Size>
FASTNORM_INLINE void gather_seconds(const char* __restrict source, char* __restrict target) {
    using Element = typename Anywhere<Size>::type;
    const auto from = reinterpret_cast<const typename Anywhere<2 * Size>::type*>(source);
    const auto to = reinterpret_cast<Element*>(target);
    for (int i = 0; i < gathered_together; ++i) to[i] = Element(from[i]);
}

template <int Size>
FASTNORM_OUTLINE void gather_elements(
    const char* source, std::int64_t step, char* packed, std::int64_t count
) {
    using Element = typename Anywhere<Size>::type;
    if (step == Size) {
        std::memcpy(packed, source, std::size_t(count) * Size);
        return;
    }
    if (step == -Size) {
        for (; count >= gathered_together; count -= gathered_together) {
            gather_backwards<Size>(source, packed);
            source += gathered_together * step, packed += gathered_together * Size;
        }
    }
    if constexpr (Size < 8) {
        // The upper half of the last one may lie outside the array.
        if (step == 2 * Size) {
            for (; count > gathered_together; count -= gathered_together) {
                gather_seconds<Size>(source, packed);
                source += gathered_together * step, packed += gathered_together * Size;
            }
        }
    }
    for (; count > 0; --count, source += step, packed += Size)
        *reinterpret_cast<Element*>(packed) = *reinterpret_cast<const Element*>(source);
}

FASTNORM_TARGET_END

namespace fastnorm {
namespace FASTNORM_TARGET {

void gather(const char* source, std::int64_t step, int size, char* packed, std::int64_t count) {
    const auto run = size == 8 ? gather_elements<8> : size == 4 ? gather_elements<4> : gather_elements<2>;
    run(source, step, packed, count);
}

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm
