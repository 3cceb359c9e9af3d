// softmax over the columns of each row: y_j = exp(x_j) / sum exp(x_k).
// Backward, y being computed again: dx = y * (dy - sum(dy * y)).
//
// Accuracy, float32: 1.07 ULP from the exponential (see exponential_rows.h), rounding errors of S, 1/S and
// the product: below 4 ULP for entries of every size. A row whose maximum is not finite (all -infinity, or
// one infinity), or that has a NaN, is NaN.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/loops/exponential_rows.h"
#include "kernels/loops/row_tile.h"
#include "tasks/softmax.h"

FASTNORM_TARGET_BEGIN

// Calls row(x_row, y_row) for rows [begin, end), packed tile by tile where they are not contiguous.
template <class T, class Row>
FASTNORM_INLINE void for_rows(
    const SoftmaxForward& task, std::int64_t begin, std::int64_t end, char* space, Row row
) {
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        x.fetch(first, count);
        y.select(first);
        for (int i = 0; i < count; ++i) row(x.row(i), y.row(i));
        y.write_back(first, count);
    }
}
template <class T, class Row>
FASTNORM_INLINE void for_rows(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, char* space, Row row
) {
    RowTile<T> dy(task.shape, task.dy, space), x(task.shape, task.x, space), dx(task.shape, task.dx, space);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        dy.fetch(first, count);
        x.fetch(first, count);
        dx.select(first);
        for (int i = 0; i < count; ++i) row(dy.row(i), x.row(i), dx.row(i));
        dx.write_back(first, count);
    }
}

// What is fetched while the exponentials of a row of x are computed: the lines of the result, or, where that
// is streamed past the caches, the next row of x, so that memory is read meanwhile and written afterwards; of
// a row too long for the nearer caches, just what comes next. 16384 x 4096 on two Ice Lake cores:
// softmax 23.0 ms otherwise and 22.4 so, its backward 40.3 and 34.7, cross_entropy with its gradient 22.0
// and 20.3; a row of 256 KiB fetched whole costs 10 %.
template <class T>
FASTNORM_INLINE const T* fetched_meanwhile(const T* x, const T* result, std::int64_t cols, bool streaming) {
    constexpr std::int64_t longest = 64 << 10;
    if (!streaming) return result;
    return x + (cols * std::int64_t(sizeof(T)) <= longest ? cols : fetched_ahead);
}

// The work row at the beginning of the scratch, which moves on.
template <class C>
FASTNORM_INLINE C* take_work_row(char*& space, std::int64_t cols) {
    C* row = reinterpret_cast<C*>(space);
    space += work_row_bytes(cols, sizeof(C));
    return row;
}

template <class T>
void softmax_forward(const SoftmaxForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    using V = Argument<T, 1>;
    const std::int64_t cols = task.shape.cols;
    char* space = static_cast<char*>(scratch);
    C* e = take_work_row<C>(space, cols);
    for_rows<T>(task, begin, end, space, [&](const T* x, T* y) {
        const ExponentialRow<T> row(x, e, cols, fetched_meanwhile<T>(x, y, cols, task.stream));
        const C factor = C(1 / row.sum);
        const Span<T, C, 1, 1> span{{}, e, {x + cols}, {y}};
        fill_span(span, cols, task.stream, [=](V power) FASTNORM_INLINE_LAMBDA {
            return power * broadcast<V>(factor);
        });
    });
}

template <class T>
void softmax_backward(const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    using V = Argument<T, 2>;
    const std::int64_t cols = task.shape.cols;
    char* space = static_cast<char*>(scratch);
    C* e = take_work_row<C>(space, cols);
    for_rows<T>(task, begin, end, space, [&](const T* dy, const T* x, T* dx) {
        const ExponentialRow<T> row(x, e, cols, fetched_meanwhile<T>(x, dx, cols, task.stream));
        const C factor = C(1 / row.sum), mean = C(row_dot(dy, e, cols) / row.sum);
        const Span<T, C, 2, 1> span{{dy}, e, {x + cols, dy + cols}, {dx}};
        fill_span(span, cols, task.stream, [=](V upstream, V power) FASTNORM_INLINE_LAMBDA {
            return (power * broadcast<V>(factor)) * (upstream - broadcast<V>(mean));
        });
    });
}

FASTNORM_TARGET_END
