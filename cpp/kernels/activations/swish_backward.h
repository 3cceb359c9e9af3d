// The gradients of swish for x and beta: loops over rows whose elements share one beta, and over rows that
// share a row of betas.
//
// Rows are summed in swish_lanes lanes, columns row by row; short rows as joined_gradients.h has it. The
// order follows from the shape of x and beta alone.
#pragma once

#include <cstring>

#include "kernels/activations/joined_gradients.h"

FASTNORM_TARGET_BEGIN

// dx of segments [begin, end) of rows with one beta each, and the share of each segment in its dbeta.
template <class S, class C>
FASTNORM_OUTLINE void swish_rows(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    S* const space = static_cast<S*>(scratch);
    alignas(64) C beta[swish_lanes];
    const RowSpan<S> dy(task.shape, task.dy, space), x(task.shape, task.x, space + segment_elements),
        dx(task.shape, task.dx, space + 2 * segment_elements);
    const RowSpan<C> betas(task.shape, task.beta, beta);
    const std::int64_t per_row = segments_per_row(task);
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = segment / per_row, column = segment % per_row * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        const S* const upstream = dy.fetch(row, column, count);
        const S* const source = x.fetch(row, column, count);
        const C factor = *betas.fetch(row, 0, 1);
        for (C& lane : beta) lane = factor;
        alignas(64) double lanes[swish_lanes] = {};
        const auto add = factor == 1 ? of.summed_of_ones : of.summed;
        add(upstream, source, dx.place(row, column), beta, lanes, count, swish_lanes);
        const double total = sum_of_lanes(lanes);
        task.shares[segment] = is_accurate_sum(total, factor)
                                   ? total
                                   : wide_sum_of_row(lanes, upstream, source, beta, count, of);
        dx.write_back(row, column, count);
    }
}

// dx of units [begin, end), strips of blocks of rows that share a row of betas, and the share of each in
// dbeta, or dbeta itself where there are no shares.
template <class S, class C>
FASTNORM_OUTLINE void swish_columns(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    const std::int64_t width = task.strip, cols = task.shape.cols, strips = (cols + width - 1) / width;
    const std::int64_t blocks = (task.shared_rows + task.block_rows - 1) / task.block_rows;
    double* const totals = static_cast<double*>(scratch);
    double* const again = totals + width;
    C* const marks = reinterpret_cast<C*>(again + width);
    S* const space = reinterpret_cast<S*>(marks + 3 * width);
    const RowSpan<C> beta(task.shape, task.beta, marks + width),
        dbeta(task.shape, task.dbeta, marks + 2 * width);
    const RowSpan<S> dy(task.shape, task.dy, space), x(task.shape, task.x, space + width),
        dx(task.shape, task.dx, space + 2 * width);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t place = unit / strips, column = unit % strips * width;
        const std::int64_t count = smaller(width, cols - column);
        const std::int64_t group = place / blocks * task.shared_rows;
        const std::int64_t first = group + place % blocks * task.block_rows;
        const std::int64_t last = smaller(first + task.block_rows, group + task.shared_rows);
        const C* const betas = beta.fetch(group, column, count);
        C* const result = task.shares ? nullptr : dbeta.place(group, column);
        double* const sums = task.shares ? task.shares + place * cols + column : totals;
        const bool is_stored = task.shared_rows == 1;
        const auto add = are_ones(betas, count) ? of.summed_of_ones : of.summed;
        if (!is_stored) std::memset(sums, 0, std::size_t(count) * sizeof(double));
        bool accurate = true;
        for (std::int64_t row = first; row < last;) {
            const S* const upstream = dy.fetch(row, column, count);
            const S* const source = x.fetch(row, column, count);
            if (!accurate) {
                of.add_wide_terms(upstream, source, betas, marks, again, count, no_period);
            } else if (is_stored) {
                of.stored(upstream, source, dx.place(row, column), betas, result, count, no_period);
            } else {
                add(upstream, source, dx.place(row, column), betas, sums, count, no_period);
            }
            if (accurate) dx.write_back(row, column, count);
            if (++row < last || !accurate) continue;
            accurate = is_stored ? are_accurate(result, betas, count) : are_accurate(sums, betas, count);
            if (accurate) break;
            // The rows once more, for the terms of some columns in double.
            if (is_stored) {
                mark_doubtful(result, betas, marks, count);
            } else {
                mark_doubtful(sums, betas, marks, count);
            }
            std::memset(again, 0, std::size_t(count) * sizeof(double));
            row = first;
        }
        for (std::int64_t j = 0; !accurate && j < count; ++j) {
            if (marks[j] != 1) continue;
            if (is_stored) result[j] = C(again[j]);
            sums[j] = again[j];
        }
        if (!result) continue;
        for (std::int64_t j = 0; !is_stored && j < count; ++j) result[j] = C(sums[j]);
        dbeta.write_back(group, column, count);
    }
}

// Elements of a half type are moved as what they take.
template <class T>
using storage_t = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;

template <class T>
void swish_backward_rows(const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const auto loop = task.rows_together > 1 ? swish_joined_rows<storage_t<T>, compute_t<T>>
                                             : swish_rows<storage_t<T>, compute_t<T>>;
    loop(task, begin, end, scratch, swish_row_functions<T>);
}
template <class T>
void swish_backward_columns(const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const auto loop = task.lane_rows > 0 ? swish_few_columns<storage_t<T>, compute_t<T>>
                                         : swish_columns<storage_t<T>, compute_t<T>>;
    loop(task, begin, end, scratch, swish_row_functions<T>);
}

FASTNORM_TARGET_END
