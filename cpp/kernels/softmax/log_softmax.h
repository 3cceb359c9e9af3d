// log_softmax over the columns of each row: y_j = x_j - log(sum exp(x_k)).
// Backward: dx = dy - softmax(x) * sum(dy), where softmax(x) is exp(y) if y is given.
//
// With m the maximum, log(sum exp(x_k)) = m + lift is subtracted as a pair, so x_j - m - lift is rounded at
// the size of the result. Only an element that holds more than half of the sum can be nearer to 0 than
// log(2); it is -lift, which loops/exponential_rows.h computes with full relative accuracy. Below 3 ULP in
// float32. NaN as in softmax.
#pragma once

#include "kernels/softmax/rows.h"

FASTNORM_TARGET_BEGIN

template <class T>
void log_softmax_forward(const SoftmaxForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    using V = Argument<T, 1>;
    const std::int64_t cols = task.shape.cols;
    char* space = static_cast<char*>(scratch);
    C* e = take_work_row<C>(space, cols);
    for_rows<T>(task, begin, end, space, [&](const T* x, T* y) {
        ExponentialRow<T> row(x, e, cols, fetched_meanwhile<T>(x, y, cols, task.stream));
        row.find_dominant();
        const double lift = row.sum == row.sum ? row.lift() : row.sum;
        const double m = row.maximum(), high = m + lift, part = high - m,
                     rest = (m - (high - part)) + (lift - part);
        const C rounded = C(high);
        const C correction = C((high - double(rounded)) + rest);
        const Span<T, T, 1, 1> span{{}, x, {x + cols}, {y}};
        fill_span(span, cols, task.stream, [=](V value) FASTNORM_INLINE_LAMBDA {
            return (value - broadcast<V>(rounded)) - broadcast<V>(correction);
        });
        if (row.dominant >= 0) narrow(C(-lift), y[row.dominant]);
    });
}

template <class T>
void log_softmax_backward(const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    using V = Argument<T, 2>;
    const std::int64_t cols = task.shape.cols;
    char* space = static_cast<char*>(scratch);
    C* e = take_work_row<C>(space, cols);
    for_rows<T>(task, begin, end, space, [&](const T* dy, const T* x, T* dx) {
        const ExponentialRow<T> row(x, e, cols, fetched_meanwhile<T>(x, dx, cols, task.stream));
        const C factor = C(row_sum<C>(dy, cols) / row.sum);
        const Span<T, C, 2, 1> span{{dy}, e, {x + cols, dy + cols}, {dx}};
        fill_span(span, cols, task.stream, [=](V upstream, V power) FASTNORM_INLINE_LAMBDA {
            return negative_mul_add(power, broadcast<V>(factor), upstream);
        });
    });
}

// The rows of x are those of y.
template <class T>
void log_softmax_backward_from_result(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    using V = Argument<T, 2>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(task, begin, end, static_cast<char*>(scratch), [&](const T* dy, const T* y, T* dx) {
        const C factor = C(row_sum<C>(dy, cols));
        const Span<T, T, 2, 1> span{{dy}, y, {y + cols, dy + cols}, {dx}};
        fill_span(span, cols, task.stream, [=](V upstream, V result) FASTNORM_INLINE_LAMBDA {
            return negative_mul_add(exp(result), broadcast<V>(factor), upstream);
        });
    });
}

FASTNORM_TARGET_END
