// An array as planning sees it: where its elements lie. Nothing here knows of Python; the bindings give views
// of the arrays of a call, native tests views of their own memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tasks/arrays.h"

namespace fastnorm {

constexpr int max_axes = 64;  // as NumPy has

// Statistics and parameter gradients have this type, and kernels compute in it.
constexpr Element compute_element(Element element) {
    return element == Element::float64 ? Element::float64 : Element::float32;
}

// Whether addresses and strides, combined by or, are multiples of an element's size, a power of two.
constexpr bool are_multiples(std::uintptr_t combined, std::int64_t size) {
    return (combined & std::uintptr_t(size - 1)) == 0;
}

struct View {
    char* data = nullptr;
    Element element = Element::float32;
    int ndim = 0;
    const std::ptrdiff_t* shape = nullptr;
    const std::ptrdiff_t* strides = nullptr;  // bytes
    bool contiguous = false;                  // in C order, without gaps
    bool in_panels = false;                   // a packed weight: of the compute type, strides mean nothing

    std::int64_t size() const {
        std::int64_t size = 1;
        for (int i = 0; i < ndim; ++i) size *= shape[i];
        return size;
    }
    std::int64_t bytes() const { return size() * item_size(element); }
};

// Some axes of an array, ascending: those a norm is taken over, or the channels'.
struct Axes {
    int count = 0;
    int axis[max_axes];

    bool contains(int candidate) const {
        for (int i = 0; i < count; ++i) {
            if (axis[i] == candidate) return true;
        }
        return false;
    }
};

// All axes of an array but these.
inline Axes other_axes(const Axes& axes, int ndim) {
    Axes others;
    for (int i = 0; i < ndim; ++i) {
        if (!axes.contains(i)) others.axis[others.count++] = i;
    }
    return others;
}

}  // namespace fastnorm
