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
    struct Known {
        C rounded, correction, lift;
        std::int64_t dominant;
    };
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& place, const auto& beside) FASTNORM_INLINE_LAMBDA {
            const T* const fetched = fetched_meanwhile<T>(place.x, place.y, cols, task.stream);
            const PowerSum powers = row_exponentials(place.x, place.e, cols, fetched, beside, PowersAlone{});
            ExponentialRow<T> row(place.x, place.e, cols, powers);
            row.find_dominant();
            const double lift = row.sum == row.sum ? row.lift() : row.sum;
            const double m = row.reference();
            double high = lift, rest = 0;
            if (m != 0) {  // the next row waits for what is left
                high = m + lift;
                const double part = high - m;
                rest = (m - (high - part)) + (lift - part);
            }
            const C rounded = C(high);
            return Known{rounded, C((high - double(rounded)) + rest), C(lift), row.dominant};
        },
        [&](const Known& known, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, T, 1, 1> span{{}, row.x, {row.x + cols}, {row.y}};
            return written_row(span, [=](auto value) FASTNORM_INLINE_LAMBDA {
                using V = decltype(value);
                return (value - broadcast<V>(known.rounded)) - broadcast<V>(known.correction);
            });
        },
        [](const Known& known, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            if (known.dominant >= 0) narrow(-known.lift, row.y[known.dominant]);
        }
    );
}

template <class T>
void log_softmax_backward(const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& row, const auto& beside) FASTNORM_INLINE_LAMBDA {
            const T* const dy = row.dy;
            const GradientRow<T> sums(
                row, cols, task.stream, beside,
                [=](std::int64_t j, auto step, auto power)
                    FASTNORM_INLINE_LAMBDA { return load_columns<decltype(power)>(dy + j, step); },
                [&]() FASTNORM_INLINE_LAMBDA { return row_sum<C>(dy, cols); }
            );
            return C(sums.products / sums.powers);
        },
        [&](C factor, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, C, 2, 1> span{{row.dy}, row.e, {row.x + cols, row.dy + cols}, {row.y}};
            return written_row(span, [=](auto upstream, auto power) FASTNORM_INLINE_LAMBDA {
                return negative_mul_add(power, broadcast<decltype(power)>(factor), upstream);
            });
        }
    );
}

// The rows of x are those of y.
template <class T>
void log_softmax_backward_from_result(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& row, const auto& beside) FASTNORM_INLINE_LAMBDA {
            return C(sum_beside<C>(cols, beside, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                return load_columns<Vec<C, row_lanes>>(row.dy + j, step);
            }));
        },
        [&](C factor, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, T, 2, 1> span{{row.dy}, row.x, {row.x + cols, row.dy + cols}, {row.y}};
            return written_row(span, [=](auto upstream, auto result) FASTNORM_INLINE_LAMBDA {
                return negative_mul_add(exp_of_row(result), broadcast<decltype(result)>(factor), upstream);
            });
        }
    );
}

FASTNORM_TARGET_END
