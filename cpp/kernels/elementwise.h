// Loops of element-wise ops: out = f(a) or f(a, b) over segments of rows, contiguous or packed.
#pragma once

#include "simd/rows.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

// Packing space of one operand of an element-wise op that is not contiguous.
template <class T>
class Segment {
public:
    FASTNORM_INLINE Segment(const Rows& shape, const Operand& operand, char*& scratch)
        : shape_(shape), operand_(operand), packed_(reinterpret_cast<T*>(scratch)) {
        if (!operand.contiguous) scratch += segment_elements * std::int64_t(sizeof(T));
    }
    FASTNORM_INLINE T* at(std::int64_t row, std::int64_t column) {
        start_ = operand_.data + strided_offset(row, shape_.outer_axes, shape_.outer_extent, operand_.outer_stride) +
                 column * operand_.inner_stride[0];
        return operand_.contiguous ? reinterpret_cast<T*>(start_) : packed_;
    }
    FASTNORM_INLINE T* fetch(std::int64_t row, std::int64_t column, std::int64_t count) {
        T* elements = at(row, column);
        if (!operand_.contiguous) {
            for (std::int64_t i = 0; i < count; ++i) {
                __builtin_memcpy(packed_ + i, start_ + i * operand_.inner_stride[0], sizeof(T));
            }
        }
        return elements;
    }
    FASTNORM_INLINE void write_back(std::int64_t count) {
        if (operand_.contiguous) return;
        for (std::int64_t i = 0; i < count; ++i) {
            __builtin_memcpy(start_ + i * operand_.inner_stride[0], packed_ + i, sizeof(T));
        }
    }

private:
    const Rows& shape_;
    const Operand& operand_;
    T* packed_;
    char* start_ = nullptr;
};

// out[i] = f(i, step) for i in [0, count).
template <class T, class Function>
FASTNORM_INLINE void fill_segment(T* out, std::int64_t count, bool streaming, Function f) {
    constexpr int lanes = native<compute_t<T>>;
    std::int64_t i = 0;
    if constexpr (sizeof(T) == sizeof(compute_t<T>)) {
        if (streaming) {
            const std::int64_t head = columns_to_alignment(out, count);
            for_columns<lanes>(0, head, [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
                store_columns(out + k, f(k, step), step);
            });
            for (i = head; i + lanes <= count; i += lanes) stream(out + i, f(i, Whole{}));
        }
    }
    for_columns<lanes>(i, count, [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(out + k, f(k, step), step);
    });
}

template <class T, class Body>
FASTNORM_INLINE void for_segments(const Elementwise& task, std::int64_t begin, std::int64_t end, Body body) {
    const std::int64_t per_row = segments_per_row(task);
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = per_row == 1 ? segment : segment / per_row;
        const std::int64_t column = (segment - row * per_row) * segment_elements;
        body(row, column, smaller(segment_elements, task.shape.cols - column));
    }
}

template <class T, class Function>
FASTNORM_INLINE void map(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch, Function f) {
    using V = Vec<compute_t<T>, native<compute_t<T>>>;
    char* space = static_cast<char*>(scratch);
    Segment<T> a(task.shape, task.a, space), out(task.shape, task.out, space);
    for_segments<T>(task, begin, end, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
        const T* source = a.fetch(row, column, count);
        fill_segment(out.at(row, column), count, task.stream, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
            return f(load_columns<V>(source + i, step));
        });
        out.write_back(count);
    });
}

template <class T, class Function>
FASTNORM_INLINE void map_pairs(
    const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch, Function f
) {
    using V = Vec<compute_t<T>, native<compute_t<T>>>;
    char* space = static_cast<char*>(scratch);
    Segment<T> a(task.shape, task.a, space), b(task.shape, task.b, space), out(task.shape, task.out, space);
    for_segments<T>(task, begin, end, [&](std::int64_t row, std::int64_t column, std::int64_t count) {
        const T* left = a.fetch(row, column, count);
        const T* right = b.fetch(row, column, count);
        fill_segment(out.at(row, column), count, task.stream, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
            return f(load_columns<V>(left + i, step), load_columns<V>(right + i, step));
        });
        out.write_back(count);
    });
}

FASTNORM_TARGET_END
