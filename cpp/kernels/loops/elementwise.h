// Loops of element-wise ops: results = f(inputs) over segments of rows, contiguous or packed.
#pragma once

#include <cstring>

#include "kernels/loops/elements.h"
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
    // Where the segment lies, or is packed.
    FASTNORM_INLINE T* place(std::int64_t row, std::int64_t column) {
        start_ = operand_->data +
                 strided_offset(row, shape_->outer_axes, shape_->outer_extent, operand_->outer_stride) +
                 column * operand_->inner_stride[0];
        return operand_->contiguous ? reinterpret_cast<T*>(start_) : packed_;
    }
    FASTNORM_INLINE const T* fetched(std::int64_t row, std::int64_t column, std::int64_t count) {
        T* elements = place(row, column);
        const std::int64_t stride = operand_->inner_stride[0];
        if (operand_->contiguous || (stride == 0 && start_ == repeated_ && count <= repetitions_))
            return elements;
        gather(start_, stride, int(sizeof(T)), reinterpret_cast<char*>(packed_), count);
        repeated_ = start_, repetitions_ = count;
        return elements;
    }
    FASTNORM_INLINE void write_back(std::int64_t count) const {
        if (operand_->contiguous) return;
        for (std::int64_t i = 0; i < count; ++i) {
            std::memcpy(start_ + i * operand_->inner_stride[0], packed_ + i, sizeof(T));
        }
    }

private:
    const Rows* shape_;
    const Operand* operand_;
    T* packed_;
    char* start_;
    // Where the packed elements are from and how many: an operand whose stride is 0 is packed once, not once
    // a segment.
    const char* repeated_ = nullptr;
    std::int64_t repetitions_ = 0;
};

// What a function of `inputs` arguments takes of each at a time. In registers of 512 bits the operations of a
// function of one argument are most of its time even where the data come from the last cache, and two vectors
// in one step keep more of them under way: silu at 512 x 768 on one Ice Lake core 114.9 us one by one and
// 109.7 by twos; with `out`, where vectors lie across two lines, 172 and 143. Functions of more arguments run
// out of registers.
template <class T, int inputs>
using Argument =
    Vec<compute_t<T>, (inputs == 1 && native<compute_t<T>> == 16 ? 2 : 1) * native<compute_t<T>>>;

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

// Stores each result v at its place in out, `i` elements on.
template <class T, class V>
FASTNORM_INLINE void store_each(T* const (&out)[1], std::int64_t i, V v) {
    store(out[0] + i, v);
}
template <class T, class V>
FASTNORM_INLINE void store_each(T* const (&out)[2], std::int64_t i, Both<V> v) {
    store(out[0] + i, v.first);
    store(out[1] + i, v.second);
}

template <class T>
FASTNORM_INLINE bool equally_aligned(T* const (&)[1]) {
    return true;
}
template <class T>
FASTNORM_INLINE bool equally_aligned(T* const (&out)[2]) {
    return (reinterpret_cast<std::uintptr_t>(out[0]) - reinterpret_cast<std::uintptr_t>(out[1])) % 64 == 0;
}

// Elements whose results are computed, into the first-level cache, before any of them is written past the
// caches. A load waits for earlier stores to the same place of another page, so results that lie a line after
// their inputs, modulo pages, would hold up every single vector: gelu at 16384 x 4096 on one Ice Lake core
// took 90 ms there, and 40 elsewhere.
template <class T>
constexpr std::int64_t streamed_together = 4 * native<T>;

// What a function is applied to: contiguous inputs, all of T but for the last, and results; and for each
// input what is fetched from memory meanwhile. With `past`, the results go to `past`, by way of room for
// streamed_together elements in `out`.
template <class T, class Last, int inputs, int results>
struct Span {
    const T* in[inputs];
    const Last* last;
    const T* ahead[inputs];
    T* out[results];
    T* past[results] = {};

    FASTNORM_INLINE Span from(std::int64_t i) const {
        Span rest = *this;
        for (int k = 0; k < inputs; ++k) rest.in[k] += i, rest.ahead[k] += i;
        for (int k = 0; k < results; ++k) rest.out[k] += i;
        rest.last += i;
        return rest;
    }
};

// results = f(inputs) for [0, count), whole arguments; context is f. This is the only code of a kernel that
// knows its function: whatever surrounds it exists once for all functions of so many inputs and results.
template <class T, class Last, int inputs, int results>
using Vectors = void (*)(const Span<T, Last, inputs, results>& span, std::int64_t count, const void* context);

template <class T, class Last, int inputs, int results, class Function>
void apply_vectors(const Span<T, Last, inputs, results>& places, std::int64_t count, const void* context) {
    using V = Argument<T, inputs>;
    constexpr std::int64_t lanes = lane_count<V>, together = streamed_together<compute_t<T>>,
                           line = 64 / sizeof(T);
    const Function f = *static_cast<const Function*>(context);
    const Span<T, Last, inputs, results> span = places;
    const std::int64_t wrap = span.past[0] ? together - 1 : -1,
                       complete = span.past[0] ? together - lanes : -1;
    for (std::int64_t i = 0; i < count; i += lanes) {
        V x[inputs];
        FASTNORM_UNROLL
        for (int k = 0; k < inputs; ++k) {
            FASTNORM_UNROLL
            for (std::int64_t j = 0; j < lanes; j += line) prefetch_read(span.ahead[k] + i + j);
        }
        FASTNORM_UNROLL
        for (int k = 0; k < inputs - 1; ++k) x[k] = load<V>(span.in[k] + i);
        x[inputs - 1] = load<V>(span.last + i);
        store_each(span.out, i & wrap, apply(f, x));
        if constexpr (sizeof(T) == sizeof(compute_t<T>)) {
            if ((i & wrap) != complete) continue;
            FASTNORM_UNROLL
            for (int k = 0; k < results; ++k) {
                FASTNORM_UNROLL
                for (std::int64_t j = 0; j < together; j += lanes) {
                    stream(span.past[k] + i - complete + j, load<V>(span.out[k] + j));
                }
            }
        }
    }
}

// The same for any count: what does not fill an argument goes through one of its own.
template <class T, class Last, int inputs, int results>
FASTNORM_OUTLINE void apply_span(
    const Span<T, Last, inputs, results>& span, std::int64_t count, Vectors<T, Last, inputs, results> vectors,
    const void* context
) {
    using V = Argument<T, inputs>;
    constexpr int lanes = lane_count<V>;
    const int rest = int(count % lanes);
    const std::int64_t whole = count - rest;
    if (whole > 0) vectors(span, whole, context);
    if (rest == 0) return;
    T in[inputs][lanes], out[results][lanes];
    Last last[lanes];
    Span<T, Last, inputs, results> padded;
    for (int k = 0; k < inputs - 1; ++k) store(in[k], load_partial<V>(span.in[k] + whole, rest, 0));
    store(last, load_partial<V>(span.last + whole, rest, 0));
    for (int k = 0; k < inputs; ++k) padded.in[k] = in[k], padded.ahead[k] = span.ahead[k] + whole;
    for (int k = 0; k < results; ++k) padded.out[k] = out[k];
    padded.last = last;
    vectors(padded, lanes, context);
    for (int k = 0; k < results; ++k) store_partial(span.out[k] + whole, load<V>(out[k]), rest);
}

// Inputs are fetched from memory this many elements ahead, over the end of a page, where the prefetcher of
// the processor stops: gelu at 16384 x 4096, one core, 40 ms without, 33 at 2 KiB, 32 at 4 and 8 KiB, 35 at
// 16 KiB; a copy takes 31.
constexpr std::int64_t fetched_ahead = 1024;

// results = f(inputs) for [0, count), past the caches if `streaming`.
template <class T, class Last, int inputs, int results>
FASTNORM_OUTLINE void write_span(
    const Span<T, Last, inputs, results>& span, std::int64_t count, bool streaming,
    Vectors<T, Last, inputs, results> vectors, const void* context
) {
    std::int64_t done = 0;
    if constexpr (sizeof(T) == sizeof(compute_t<T>)) {
        if (streaming && equally_aligned(span.out)) {
            constexpr std::int64_t together = streamed_together<T>;
            T room[results][together];
            done = columns_to_alignment(span.out[0], count);
            apply_span(span, done, vectors, context);
            Span<T, Last, inputs, results> rest = span.from(done);
            for (int k = 0; k < results; ++k) rest.past[k] = rest.out[k], rest.out[k] = room[k];
            const std::int64_t whole = (count - done) / together * together;
            vectors(rest, whole, context);
            done += whole;
        }
    }
    apply_span(span.from(done), count - done, vectors, context);
}
template <class T, class Last, int inputs, int results, class Function>
FASTNORM_INLINE void fill_span(
    const Span<T, Last, inputs, results>& span, std::int64_t count, bool streaming, const Function& f
) {
    write_span(span, count, streaming, apply_vectors<T, Last, inputs, results, Function>, &f);
}

template <class T, class Last, int inputs, int results>
FASTNORM_OUTLINE void write_segments(
    const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch,
    Vectors<T, Last, inputs, results> vectors, const void* context
) {
    static_assert(inputs + results <= Elementwise::max_operands, "as many operands as the task has");
    char* space = static_cast<char*>(scratch);
    Segment<T> in[inputs], out[results];
    Segment<Last> last;
    for (int k = 0; k < inputs - 1; ++k) in[k].attach(task.shape, task.operands[k], space);
    last.attach(task.shape, task.operands[inputs - 1], space);
    for (int k = 0; k < results; ++k) out[k].attach(task.shape, task.operands[inputs + k], space);
    const std::int64_t per_row = segments_per_row(task), ahead = task.stream ? fetched_ahead : 0;
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = per_row == 1 ? segment : segment / per_row;
        const std::int64_t column = (segment - row * per_row) * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        Span<T, Last, inputs, results> span;
        for (int k = 0; k < inputs - 1; ++k) {
            span.in[k] = in[k].fetched(row, column, count);
            span.ahead[k] = span.in[k] + ahead;
        }
        span.last = last.fetched(row, column, count);
        span.ahead[inputs - 1] = reinterpret_cast<const T*>(span.last + ahead);
        for (int k = 0; k < results; ++k) span.out[k] = out[k].place(row, column);
        write_span(span, count, task.stream, vectors, context);
        for (int k = 0; k < results; ++k) out[k].write_back(count);
    }
}

// results = f(inputs), element by element, of the task's first `inputs` operands, of which the last has
// elements Last, into the `results` after them.
template <class T, int inputs, int results, class Last = T, class Function>
FASTNORM_INLINE void map(
    const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch, const Function& f
) {
    write_segments<T, Last, inputs, results>(
        task, begin, end, scratch, apply_vectors<T, Last, inputs, results, Function>, &f
    );
}

FASTNORM_TARGET_END
