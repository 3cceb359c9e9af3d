// Spans of rows of an array as contiguous memory: for ops whose rows may be as long as the array.
#pragma once

#include <cstring>

#include "kernels/loops/elements.h"
#include "simd/rows.h"

FASTNORM_TARGET_BEGIN

// Copies columns [first, first + count) of one row between their place in the array and packed memory.
template <class T, bool Pack>
FASTNORM_OUTLINE void move_span(
    const Rows& shape, const std::int64_t* stride, char* row, T* packed, std::int64_t first,
    std::int64_t count
) {
    const int last = shape.inner_axes - 1;
    const std::int64_t run = shape.inner_extent[last], step = stride[last];
    for (std::int64_t done = 0; done < count;) {
        const std::int64_t outer = (first + done) / run, within = first + done - outer * run;
        const std::int64_t length = smaller(run - within, count - done);
        char* element = row + strided_offset(outer, last, shape.inner_extent, stride) + within * step;
        if constexpr (Pack) {
            gather(element, step, int(sizeof(T)), reinterpret_cast<char*>(packed + done), length);
        } else {
            for (std::int64_t i = 0; i < length; ++i, element += step)
                std::memcpy(element, packed + done + i, sizeof(T));
        }
        done += length;
    }
}

// Spans of rows of one operand, contiguous or packed into space for the longest of them.
template <class T>
class RowSpan {
public:
    FASTNORM_INLINE RowSpan(const Rows& shape, const Operand& operand, T* packed)
        : shape_(shape), operand_(operand), packed_(packed) {}

    // Where the span lies, or is packed.
    FASTNORM_INLINE T* place(std::int64_t row, std::int64_t column) const {
        return operand_.contiguous ? reinterpret_cast<T*>(address(row)) + column : packed_;
    }
    FASTNORM_INLINE const T* fetch(std::int64_t row, std::int64_t column, std::int64_t count) const {
        if (!operand_.contiguous) return pack(row, column, count);
        return place(row, column);
    }
    FASTNORM_INLINE void write_back(std::int64_t row, std::int64_t column, std::int64_t count) const {
        if (!operand_.contiguous) unpack(row, column, count);
    }

private:
    FASTNORM_OUTLINE const T* pack(std::int64_t row, std::int64_t column, std::int64_t count) const {
        move_span<T, true>(shape_, operand_.inner_stride, address(row), packed_, column, count);
        return packed_;
    }
    FASTNORM_OUTLINE void unpack(std::int64_t row, std::int64_t column, std::int64_t count) const {
        move_span<T, false>(shape_, operand_.inner_stride, address(row), packed_, column, count);
    }
    FASTNORM_INLINE char* address(std::int64_t row) const {
        return operand_.data +
               strided_offset(row, shape_.outer_axes, shape_.outer_extent, operand_.outer_stride);
    }

    const Rows& shape_;
    const Operand& operand_;
    T* packed_;
};

FASTNORM_TARGET_END
