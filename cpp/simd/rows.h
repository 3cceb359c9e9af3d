// Rows in contiguous memory, column by column: loops, their tails, and what lanes a reduction over a row runs
// on.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

FASTNORM_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// The lanes every reduction over a row runs on, whatever the register width: lane l takes columns l, l + 16,
// ...
constexpr int row_lanes = 16;

constexpr bool is_compact = FASTNORM_IS_COMPACT;

// Elements of storage type T as lanes of V, which may be wider than T computes in (double lanes of float
// elements).
template <class V, class T>
FASTNORM_INLINE V load_row(const T* source) {
    using C = compute_t<T>;
    constexpr int lanes = lane_count<V>;
    if constexpr (sizeof(element_t<V>) == sizeof(C)) {
        return load<V>(source);
    } else if constexpr (lanes > native<double>) {
        // Register by register, so that the conversion can take its operand from memory.
        using Half = Vec<double, lanes / 2>;
        return join(load_row<Half>(source), load_row<Half>(source + lanes / 2));
    } else {
        return to_double(load<Vec<C, lanes>>(source));
    }
}
template <class V, class T>
FASTNORM_INLINE V load_row_partial(const T* source, int count, element_t<V> fill) {
    using C = compute_t<T>;
    if constexpr (sizeof(element_t<V>) == sizeof(C)) {
        return load_partial<V>(source, count, fill);
    } else {
        return to_double(load_partial<Vec<C, lane_count<V>>>(source, count, C(fill)));
    }
}
template <class T, class V>
FASTNORM_INLINE auto as_stored(V v) {
    if constexpr (sizeof(element_t<V>) == sizeof(compute_t<T>)) {
        return v;
    } else {
        return to_float(v);
    }
}

// One step of a column loop: `Lanes` whole columns, or the `count` that are left.
struct Whole {
    static constexpr bool partial = false;
    static constexpr int count = 0;
};
struct Partial {
    static constexpr bool partial = true;
    int count;
};
// The same as calls, for code that is to be small.
template <class V, class T>
FASTNORM_OUTLINE V load_some_columns(const T* source, int count, element_t<V> fill) {
    return load_row_partial<V>(source, count, fill);
}
template <class T, class V>
FASTNORM_OUTLINE void store_some_columns(T* target, V v, int count) {
    store_partial(target, as_stored<T>(v), count);
}
template <class V, class T, class Step>
FASTNORM_INLINE V load_columns(const T* source, Step step, element_t<V> fill = 0) {
    if constexpr (Step::partial && is_compact) {
        return step.count == lane_count<V> ? load_row<V>(source)
                                           : load_some_columns<V>(source, step.count, fill);
    } else if constexpr (Step::partial) {
        return load_row_partial<V>(source, step.count, fill);
    } else {
        return load_row<V>(source);
    }
}
template <class T, class V, class Step>
FASTNORM_INLINE void store_columns(T* target, V v, Step step) {
    if constexpr (Step::partial && is_compact) {
        if (step.count < lane_count<V>) return store_some_columns(target, v, step.count);
        store(target, as_stored<T>(v));
    } else if constexpr (Step::partial) {
        store_partial(target, as_stored<T>(v), step.count);
    } else {
        store(target, as_stored<T>(v));
    }
}

// Calls body(column, step) over [begin, end) in steps of `Lanes`, the last one partial. Where code is to be
// small rather than fast every step may be partial, so that the body exists once.
template <int Lanes, class Body>
FASTNORM_INLINE void for_columns(std::int64_t begin, std::int64_t end, Body body) {
    std::int64_t j = begin;
    if constexpr (is_compact) {
        for (; j < end; j += Lanes) body(j, Partial{int(smaller(Lanes, end - j))});
    } else {
        for (; j + Lanes <= end; j += Lanes) body(j, Whole{});
        if (j < end) body(j, Partial{int(end - j)});
    }
}

// The same over [0, end) with a partial step over the first `head` columns, less than `Lanes`, after which
// rows are aligned.
template <int Lanes, class Body>
FASTNORM_INLINE void for_columns_after(std::int64_t head, std::int64_t end, Body body) {
    if constexpr (is_compact) return for_columns<Lanes>(0, end, body);
    std::int64_t j = 0;
    for (std::int64_t part = head;; part = end - j) {
        if (part > 0) body(j, Partial{int(part)});
        j += part;
        if (j == end) return;
        for (; j + Lanes <= end; j += Lanes) body(j, Whole{});
        if (j == end) return;
    }
}

// Stores a step; whole ones past the caches if `streaming`, for which the target must be aligned.
template <class T, class V, class Step>
FASTNORM_INLINE void write_columns(T* target, V v, Step step, bool streaming) {
    if constexpr (sizeof(T) == sizeof(element_t<V>) && !Step::partial) {
        if (streaming) return stream(target, v);
    }
    store_columns(target, v, step);
}

// Columns before `target + columns` is aligned for streaming, to whole lines unless told, at most `cols`;
// streaming is for elements that fill registers one to one.
template <class T>
FASTNORM_INLINE std::int64_t columns_to_alignment(
    const T* target, std::int64_t cols, std::size_t alignment = 64
) {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(target) % alignment;
    return smaller(past == 0 ? 0 : std::int64_t((alignment - past) / sizeof(T)), cols);
}

FASTNORM_TARGET_END
