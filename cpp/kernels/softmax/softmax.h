// softmax over the columns of each row: y_j = exp(x_j) / sum exp(x_k).
// Backward: dx = y * (dy - sum(dy * y)); y is computed again unless it is given.
//
// Accuracy, float32: 1.07 ULP from the exponential (see loops/exponential_rows.h), rounding errors of S, 1/S
// and the product: below 4 ULP for entries of every size. A row whose maximum is not finite (all -infinity,
// or one infinity), or that has a NaN, is NaN.
#pragma once

#include "kernels/softmax/rows.h"

FASTNORM_TARGET_BEGIN

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

// The rows of x are those of y.
template <class T>
void softmax_backward_from_result(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    using V = Argument<T, 2>;
    using W = Vec<C, row_lanes>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(task, begin, end, static_cast<char*>(scratch), [&](const T* dy, const T* y, T* dx) {
        const C mean = C(sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            return load_columns<W>(dy + j, step) * load_columns<W>(y + j, step);
        }));
        const Span<T, T, 2, 1> span{{dy}, y, {y + cols, dy + cols}, {dx}};
        fill_span(span, cols, task.stream, [=](V upstream, V result) FASTNORM_INLINE_LAMBDA {
            return result * (upstream - broadcast<V>(mean));
        });
    });
}

FASTNORM_TARGET_END
