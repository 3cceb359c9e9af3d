// Loops of element-wise ops: results = f(inputs) over segments of rows, contiguous or packed.
#pragma once

#include "simd/rows.h"
#include "tasks/elementwise.h"

FASTNORM_TARGET_BEGIN

// The current segment of one operand, packed where it is not contiguous.
template <class T>
class Segment {
public:
    // Takes its packing space from `scratch` and moves it on; nothing is taken where rows are contiguous.
    FASTNORM_INLINE void attach(const Rows& shape, const Operand& operand, char*& scratch) {
        shape_ = &shape;
        operand_ = &operand;
        packed_ = reinterpret_cast<T*>(scratch);
        if (!operand.contiguous) scratch += segment_elements * std::int64_t(sizeof(T));
    }
    FASTNORM_INLINE void select(std::int64_t row, std::int64_t column) {
        start_ = operand_->data +
                 strided_offset(row, shape_->outer_axes, shape_->outer_extent, operand_->outer_stride) +
                 column * operand_->inner_stride[0];
    }
    FASTNORM_INLINE T* elements() const { return operand_->contiguous ? reinterpret_cast<T*>(start_) : packed_; }
    FASTNORM_INLINE void fetch(std::int64_t count) const {
        if (operand_->contiguous) return;
        for (std::int64_t i = 0; i < count; ++i) {
            __builtin_memcpy(packed_ + i, start_ + i * operand_->inner_stride[0], sizeof(T));
        }
    }
    FASTNORM_INLINE void write_back(std::int64_t count) const {
        if (operand_->contiguous) return;
        for (std::int64_t i = 0; i < count; ++i) {
            __builtin_memcpy(start_ + i * operand_->inner_stride[0], packed_ + i, sizeof(T));
        }
    }

private:
    const Rows* shape_;
    const Operand* operand_;
    T* packed_;
    char* start_;
};

// What a function of two results returns.
template <class V>
struct Both {
    V first, second;
};

template <class Function, class V>
FASTNORM_INLINE auto apply(Function f, const V (&x)[1]) {
    return f(x[0]);
}
template <class Function, class V>
FASTNORM_INLINE auto apply(Function f, const V (&x)[2]) {
    return f(x[0], x[1]);
}
template <class Function, class V>
FASTNORM_INLINE auto apply(Function f, const V (&x)[3]) {
    return f(x[0], x[1], x[2]);
}

// put(target, v) for each result v at its place in out, `i` elements on.
template <class T, class V, class Put>
FASTNORM_INLINE void put_each(T* const (&out)[1], std::int64_t i, V v, Put put) {
    put(out[0] + i, v);
}
template <class T, class V, class Put>
FASTNORM_INLINE void put_each(T* const (&out)[2], std::int64_t i, Both<V> v, Put put) {
    put(out[0] + i, v.first);
    put(out[1] + i, v.second);
}

template <class T>
FASTNORM_INLINE bool equally_aligned(T* const (&)[1]) {
    return true;
}
template <class T>
FASTNORM_INLINE bool equally_aligned(T* const (&out)[2]) {
    return (reinterpret_cast<std::uintptr_t>(out[0]) - reinterpret_cast<std::uintptr_t>(out[1])) % 64 == 0;
}

// Vectors that are computed before any of them is streamed. A load waits for earlier stores to the same place of
// another page, so results that lie a line after their inputs, modulo pages, would hold up every single vector: gelu at
// 16384 x 4096 on one Ice Lake core took 90 ms there, and 40 elsewhere.
constexpr int streamed_together = 4;

// A whole step whose results are streamed. Its inputs are fetched from memory this many elements ahead, over the end of
// a page, where the prefetcher of the processor stops: gelu at 16384 x 4096, one core, 40 ms without, 33 at 2 KiB, 32
// at 4 and 8 KiB, 35 at 16 KiB; a copy takes 31.
struct Streamed : Whole {};
constexpr std::int64_t streamed_ahead = 1024;
template <class Step>
constexpr bool is_streamed = false;
template <>
constexpr bool is_streamed<Streamed> = true;

// out[...][i] = f(i, step) for i in [0, count).
template <class T, int results, class Function>
FASTNORM_INLINE void fill_segment(T* const (&out)[results], std::int64_t count, bool streaming, Function f) {
    constexpr int lanes = native<compute_t<T>>;
    const auto keep = [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
        put_each(out, k, f(k, step), [&](T* target, auto v) FASTNORM_INLINE_LAMBDA { store_columns(target, v, step); });
    };
    std::int64_t i = 0;
    if constexpr (sizeof(T) == sizeof(compute_t<T>)) {
        if (streaming && equally_aligned(out)) {
            const std::int64_t head = columns_to_alignment(out[0], count);
            for_columns<lanes>(0, head, keep);
            for (i = head; i + streamed_together * lanes <= count; i += streamed_together * lanes) {
                decltype(f(i, Streamed{})) values[streamed_together];
                FASTNORM_UNROLL
                for (int k = 0; k < streamed_together; ++k) values[k] = f(i + k * lanes, Streamed{});
                FASTNORM_UNROLL
                for (int k = 0; k < streamed_together; ++k) {
                    put_each(out, i + k * lanes, values[k], [](T* target, auto v) FASTNORM_INLINE_LAMBDA {
                        stream(target, v);
                    });
                }
            }
        }
    }
    for_columns<lanes>(i, count, keep);
}

// results = f(inputs), element by element, of the task's first `inputs` operands into the `results` after them.
template <class T, int inputs, int results, class Function>
FASTNORM_INLINE void map(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch, Function f) {
    using V = Vec<compute_t<T>, native<compute_t<T>>>;
    static_assert(inputs + results <= Elementwise::max_operands, "as many operands as the task has");
    char* space = static_cast<char*>(scratch);
    Segment<T> in[inputs], out[results];
    for (int k = 0; k < inputs; ++k) in[k].attach(task.shape, task.operands[k], space);
    for (int k = 0; k < results; ++k) out[k].attach(task.shape, task.operands[inputs + k], space);
    const std::int64_t per_row = segments_per_row(task);
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = per_row == 1 ? segment : segment / per_row;
        const std::int64_t column = (segment - row * per_row) * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        const T* sources[inputs];
        T* targets[results];
        for (int k = 0; k < inputs; ++k) {
            in[k].select(row, column);
            in[k].fetch(count);
            sources[k] = in[k].elements();
        }
        for (int k = 0; k < results; ++k) {
            out[k].select(row, column);
            targets[k] = out[k].elements();
        }
        fill_segment(targets, count, task.stream, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
            V x[inputs];
            FASTNORM_UNROLL
            for (int k = 0; k < inputs; ++k) {
                if constexpr (is_streamed<decltype(step)>) prefetch_read(sources[k] + i + streamed_ahead);
                x[k] = load_columns<V>(sources[k] + i, step);
            }
            return apply(f, x);
        });
        for (int k = 0; k < results; ++k) out[k].write_back(count);
    }
}

FASTNORM_TARGET_END
