// softmax over the columns of each row: y_j = exp(x_j) / sum exp(x_k).
// Backward: dx = y * (dy - sum(dy * y)); y is computed again unless it is given.
//
// Accuracy, float32: 1.07 ULP from the exponential (see loops/exponential_rows.h), rounding errors of S, 1/S
// and the product: below 4 ULP for entries of every size, but 4.9 at worst in rows that few elements dominate
// or whose additions all round one way. A row whose maximum is not finite (all -infinity, or one infinity),
// or that has a NaN, is NaN.
#pragma once

#include "kernels/softmax/rows.h"

FASTNORM_TARGET_BEGIN

template <class T>
void softmax_forward(const SoftmaxForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& row, const auto& beside) FASTNORM_INLINE_LAMBDA {
            const T* const fetched = fetched_meanwhile<T>(row.x, row.y, cols, task.stream);
            const PowerSum powers = row_exponentials(row.x, row.e, cols, fetched, beside, PowersAlone{});
            return C(1 / ExponentialRow<T>(row.x, row.e, cols, powers).sum);
        },
        [&](C factor, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, C, 1, 1> span{{}, row.e, {row.x + cols}, {row.y}};
            return written_row(span, [=](auto power) FASTNORM_INLINE_LAMBDA {
                return power * broadcast<decltype(power)>(factor);
            });
        }
    );
}

template <class T>
void softmax_backward(const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    struct Known {
        C factor, mean;
    };
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& row, const auto& beside) FASTNORM_INLINE_LAMBDA {
            const T* const dy = row.dy;
            const GradientRow<T> sums(
                row, cols, task.stream, beside,
                [=](std::int64_t j, auto step, auto power)
                    FASTNORM_INLINE_LAMBDA { return power * load_columns<decltype(power)>(dy + j, step); },
                [&]() FASTNORM_INLINE_LAMBDA { return row_dot(dy, row.e, cols); }
            );
            return Known{C(1 / sums.powers), C(sums.products / sums.powers)};
        },
        [&](const Known& known, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, C, 2, 1> span{{row.dy}, row.e, {row.x + cols, row.dy + cols}, {row.y}};
            return written_row(span, [=](auto upstream, auto power) FASTNORM_INLINE_LAMBDA {
                using V = decltype(power);
                return (power * broadcast<V>(known.factor)) * (upstream - broadcast<V>(known.mean));
            });
        }
    );
}

// The rows of x are those of y.
template <class T>
void softmax_backward_from_result(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    const std::int64_t cols = task.shape.cols;
    for_rows<T>(
        task, begin, end, scratch,
        [&](const RowPlace<T>& row, const auto& beside) FASTNORM_INLINE_LAMBDA {
            return C(sum_beside<C>(cols, beside, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                using V = Vec<C, row_lanes>;
                return load_columns<V>(row.dy + j, step) * load_columns<V>(row.x + j, step);
            }));
        },
        [&](C mean, const RowPlace<T>& row) FASTNORM_INLINE_LAMBDA {
            const Span<T, T, 2, 1> span{{row.dy}, row.x, {row.x + cols, row.dy + cols}, {row.y}};
            return written_row(span, [=](auto upstream, auto result) FASTNORM_INLINE_LAMBDA {
                return result * (upstream - broadcast<decltype(result)>(mean));
            });
        }
    );
}

FASTNORM_TARGET_END
