// Writing a row while something is computed of the next: stores and what they fetch hide behind arithmetic.
#pragma once

#include <type_traits>

#include "kernels/loops/elementwise.h"
#include "kernels/loops/row_tile.h"
#include "tasks/softmax.h"

FASTNORM_TARGET_BEGIN

// Whether rows are written beside others: not those of half types, where conversions are most of the time,
// and without wide registers there is nothing to hide.
template <class T>
constexpr bool writes_beside = sizeof(T) == 4 && native<float> > 4;

// What is done beside a pass over the columns of a row: take() before the loads of a step, put() after them,
// as loads would wait for stores to the same place of another page. Here nothing.
struct Nothing {
    template <class Step>
    FASTNORM_INLINE Nothing take(std::int64_t, Step) const {
        return {};
    }
    template <class Step>
    FASTNORM_INLINE void put(std::int64_t, Nothing, Step) const {}
};

// A row that is written as f of its inputs: beside another, or by itself.
template <class T, class Last, int inputs, class Function>
struct WrittenRow {
    Span<T, Last, inputs, 1> span;
    Function f;

    template <class Step>
    FASTNORM_INLINE auto take(std::int64_t j, Step step) const {
        using V = Vec<compute_t<T>, row_lanes>;
        V x[inputs];
        FASTNORM_UNROLL
        for (int k = 0; k < inputs - 1; ++k) x[k] = load_columns<V>(span.in[k] + j, step);
        x[inputs - 1] = load_columns<V>(span.last + j, step);
        return apply(f, x);
    }
    template <class V, class Step>
    FASTNORM_INLINE void put(std::int64_t j, V y, Step step) const {
        store_columns(span.out[0] + j, y, step);
    }
    FASTNORM_INLINE void write(std::int64_t cols, bool streaming) const {
        fill_span(span, cols, streaming, f);
    }
};
template <class T, class Last, int inputs, class Function>
FASTNORM_INLINE WrittenRow<T, Last, inputs, Function> written_row(
    const Span<T, Last, inputs, 1>& span, const Function& f
) {
    return {span, f};
}

FASTNORM_TARGET_END
