// Elements that lie in equal steps, gathered into packed memory: once for a target, in the object of copies.
#pragma once

#include <cstring>

#include "kernels/loops/elements.h"

FASTNORM_TARGET_BEGIN

// Unsigned integers of a size, at any address.
#if defined(__GNUC__)
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
template <class Element>
FASTNORM_INLINE void gather_backwards(const Element* __restrict source, Element* __restrict target) {
    for (int i = 0; i < gathered_together; ++i) target[i] = source[-i];
}
// Every second element: the lower halves of integers of twice the size.
template <class Element, class Pair>
FASTNORM_INLINE void gather_seconds(const Pair* __restrict source, Element* __restrict target) {
    for (int i = 0; i < gathered_together; ++i) target[i] = Element(source[i]);
}

template <int Size>
FASTNORM_OUTLINE void gather_elements(
    const char* source, std::int64_t step, char* packed, std::int64_t count
) {
    using Element = typename Anywhere<Size>::type;
    Element* target = reinterpret_cast<Element*>(packed);
    if (step == Size) {
        std::memcpy(packed, source, std::size_t(count) * Size);
        return;
    }
    if (step == -Size) {
        for (; count >= gathered_together; count -= gathered_together) {
            gather_backwards(reinterpret_cast<const Element*>(source), target);
            source += gathered_together * step, target += gathered_together;
        }
    }
    if constexpr (Size < 8) {
        // The upper half of the last one may lie outside the array.
        if (step == 2 * Size) {
            for (; count > gathered_together; count -= gathered_together) {
                using Pair = typename Anywhere<2 * Size>::type;
                gather_seconds(reinterpret_cast<const Pair*>(source), target);
                source += gathered_together * step, target += gathered_together;
            }
        }
    }
    for (; count > 0; --count, source += step) *target++ = *reinterpret_cast<const Element*>(source);
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
