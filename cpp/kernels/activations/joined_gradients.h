// The gradients of swish on short rows: many of them in one run, since a call and the end of a vector for
// each would cost more than its elements.
//
// Rows with one beta each, which follow each other in memory, take the betas of their elements from a buffer
// and leave their terms in another, to be summed row by row: in the lanes of swish_rows or, where they are
// shorter than row_lanes, one after the other. Rows that share a row of few betas are summed in the lanes of
// `lane_rows` rows, which fill whole vectors; a column's lanes are added up in the order of rows.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/activations/joined_rows.h"
#include "kernels/activations/swish_gradients.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

// A sum is in memory, and stays there for some vectors before it is loaded again: one loaded at once waited
// for the store, 226 us and 176 from one process to the next (512 x 768, two Zen 4 cores).
constexpr int swish_lanes = swish_period;

FASTNORM_OUTLINE double sum_of_lanes(const double* lanes) {
    return sum(load<Vec<double, swish_lanes>>(lanes));
}

// The sum of a row whose lanes have these sums, with the terms of doubtful lanes in double.
template <class S, class C>
FASTNORM_RARE double wide_sum_of_row(
    double* sums, const S* dy, const S* x, const C* beta, std::int64_t count, const SwishRowFunctions<C>& of
) {
    C marks[swish_lanes] = {};
    double again[swish_lanes] = {};
    const std::int64_t used = smaller(count, swish_lanes);
    mark_doubtful(sums, beta, marks, used);
    of.add_wide_terms(dy, x, beta, marks, again, count, swish_lanes);
    for (int lane = 0; lane < used; ++lane) {
        if (marks[lane] == 1) sums[lane] = again[lane];
    }
    return sum_of_lanes(sums);
}
// The same of a row shorter than row_lanes.
template <class S, class C>
FASTNORM_RARE double wide_sum_of_short_row(
    const S* dy, const S* x, const C* beta, std::int64_t count, const SwishRowFunctions<C>& of
) {
    const C marked = 1;
    double result = 0;
    for (std::int64_t j = 0; j < count; ++j)
        of.add_wide_terms(dy + j, x + j, beta, &marked, &result, 1, no_period);
    return result;
}

// is_accurate and is_ordinary of one sum.
template <class C>
FASTNORM_INLINE bool is_accurate_sum(double total, C beta) {
    return sizeof(C) == 8 || (std::abs(total) >= least_accurate && std::abs(total) <= most_accurate &&
                              std::abs(beta) >= C(least_ordinary));
}

// wide_sum_of_row of a row of terms.
template <class S, class C>
FASTNORM_RARE double wide_sum_of_terms(
    const C* terms, const S* dy, const S* x, const C* beta, std::int64_t count, const SwishRowFunctions<C>& of
) {
    alignas(64) double lanes[swish_lanes] = {};
    for (std::int64_t j = 0; j < count; ++j) lanes[j % swish_lanes] += double(terms[j]);
    return wide_sum_of_row(lanes, dy, x, beta, count, of);
}
// Whether so are all of these.
template <class C>
FASTNORM_OUTLINE bool are_ordinary(
    const double* sums, std::int64_t sum_count, const C* beta, std::int64_t beta_count
) {
    if (sizeof(C) == 8) return true;
    bool result = true;
    for_columns<row_lanes>(0, sum_count, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        result = result && !any(!is_accurate(load_columns<Vec<double, row_lanes>>(sums + j, step, 1)));
    });
    for_columns<row_lanes>(0, beta_count, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        result = result && !any(!is_ordinary(load_columns<Vec<C, row_lanes>>(beta + j, step, 1)));
    });
    return result;
}

// The sums of rows of terms of up to swish_lanes columns, `vectors` of row_lanes; zeros added to the fold of
// fewer lanes change nothing but the sign of a zero.
template <int vectors>
FASTNORM_OUTLINE void sum_rows_of(const float* terms, std::int64_t rows, std::int64_t cols, double* sums) {
    using V = Vec<double, row_lanes>;
    const int last = int(cols - (vectors - 1) * row_lanes);
    for (std::int64_t row = 0; row < rows; ++row, terms += cols) {
        V lanes[vectors];
        for (int k = 0; k + 1 < vectors; ++k) lanes[k] = load_row<V>(terms + k * row_lanes);
        lanes[vectors - 1] = load_row_partial<V>(terms + (vectors - 1) * row_lanes, last, 0);
        if constexpr (vectors > 3) lanes[1] = lanes[1] + lanes[3];
        if constexpr (vectors > 2) lanes[0] = lanes[0] + lanes[2];
        if constexpr (vectors > 1) lanes[0] = lanes[0] + lanes[1];
        sums[row] = 0.0 + sum(lanes[0]);
    }
}

// The same of rows shorter than row_lanes; whole columns of row_lanes rows are read.
FASTNORM_INLINE void sum_short_rows(const float* terms, std::int64_t rows, std::int64_t cols, double* sums) {
    using V = Vec<float, row_lanes>;
    using Wide = Vec<double, row_lanes>;
    constexpr int group = column_group<float>;
    for (std::int64_t row = 0; row < rows; row += row_lanes, terms += row_lanes * cols) {
        Wide total = broadcast<Wide>(0);
        for (std::int64_t j = 0; j < cols; j += group) {
            V columns[group];
            load_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return terms + i * cols + j; }, columns);
            for (int k = 0; k < group && j + k < cols; ++k) total = total + to_double(columns[k]);
        }
        store(sums + row, total);
    }
}

// The same of any rows, in little code.
template <class C>
FASTNORM_OUTLINE void sum_any_rows(const C* terms, std::int64_t rows, std::int64_t cols, double* sums) {
    using V = Vec<double, row_lanes>;
    for (std::int64_t row = 0; row < rows; ++row, terms += cols) {
        alignas(64) double lanes[swish_lanes] = {};
        if (cols < row_lanes) {
            double total = 0;
            for (std::int64_t j = 0; j < cols; ++j) total += double(terms[j]);
            sums[row] = total;
            continue;
        }
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            double* const place = lanes + j % swish_lanes;
            store(place, load<V>(place) + load_columns<V>(terms + j, step));
        });
        sums[row] = sum_of_lanes(lanes);
    }
}

template <class C>
FASTNORM_OUTLINE void sum_rows(const C* terms, std::int64_t rows, std::int64_t cols, double* sums) {
    if constexpr (sizeof(C) == 4 && !is_compact) {
        if (cols < row_lanes) return sum_short_rows(terms, rows, cols, sums);
        if (cols <= row_lanes) return sum_rows_of<1>(terms, rows, cols, sums);
        if (cols <= 2 * row_lanes) return sum_rows_of<2>(terms, rows, cols, sums);
        if (cols <= 3 * row_lanes) return sum_rows_of<3>(terms, rows, cols, sums);
        if (cols <= 4 * row_lanes) return sum_rows_of<4>(terms, rows, cols, sums);
    }
    sum_any_rows(terms, rows, cols, sums);
}

// dx of units [begin, end) of rows_together rows with one beta each, and the share of each row.
template <class S, class C>
FASTNORM_OUTLINE void swish_joined_rows(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    double* const sums = static_cast<double*>(scratch);
    C *const betas = reinterpret_cast<C*>(sums + swish_room), *const terms = betas + swish_room;
    const std::int64_t cols = task.shape.cols;
    std::memset(terms, 0, (swish_room + row_lanes * row_lanes) * sizeof(C));  // read beyond the last row
    const RowSpan<S> dy(task.shape, task.dy, nullptr), x(task.shape, task.x, nullptr),
        dx(task.shape, task.dx, nullptr);
    bool dense = true;  // whether shares are in the order of the rows
    std::int64_t step = sizeof(double);
    for (int axis = task.shape.outer_axes - 1; axis >= 0; step *= task.shape.outer_extent[axis--])
        dense = dense && task.dbeta.outer_stride[axis] == step;
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t row = unit * task.rows_together;
        const std::int64_t rows = smaller(task.rows_together, task.shape.rows - row);
        const S *const upstream = dy.place(row, 0), *const source = x.place(row, 0);
        spread_betas(task.shape, task.beta, row, rows, betas);
        of.stored(upstream, source, dx.place(row, 0), betas, terms, rows * cols, no_period);
        sum_rows(terms, rows, cols, sums);
        if (!are_ordinary(sums, rows, betas, rows * cols)) {
            for (std::int64_t i = 0, first = 0; i < rows; ++i, first += cols) {
                if (is_accurate_sum(sums[i], betas[first])) continue;
                const S *const row_dy = upstream + first, *const row_x = source + first;
                sums[i] = cols < row_lanes
                              ? wide_sum_of_short_row(row_dy, row_x, betas + first, cols, of)
                              : wide_sum_of_terms(terms + first, row_dy, row_x, betas + first, cols, of);
            }
        }
        if (dense) {
            std::memcpy(task.shares + row, sums, std::size_t(rows) * sizeof(double));
            continue;
        }
        RowOffsets offsets(task.shape, task.dbeta, row);
        for (std::int64_t i = 0; i < rows; ++i)
            *reinterpret_cast<double*>(reinterpret_cast<char*>(task.shares) + offsets.next()) = sums[i];
    }
}

// dx of units [begin, end), blocks of rows that share a row of few betas, and the share of each in dbeta, or
// dbeta itself where there are no shares.
template <class S, class C>
FASTNORM_OUTLINE void swish_few_columns(
    const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch,
    const SwishRowFunctions<C>& of
) {
    const std::int64_t cols = task.shape.cols, period = task.lane_rows * cols;
    const std::int64_t blocks = (task.shared_rows + task.block_rows - 1) / task.block_rows;
    double *const lanes = static_cast<double*>(scratch), *const totals = lanes + swish_run,
                  *const again = totals + swish_run;
    C *const betas = reinterpret_cast<C*>(again + swish_run), *const marks = betas + swish_run,
             *const packed_dbeta = marks + swish_run;
    S* const space = reinterpret_cast<S*>(packed_dbeta + swish_run);
    const RowSpan<C> beta(task.shape, task.beta, betas), dbeta(task.shape, task.dbeta, packed_dbeta);
    // Rows that follow each other are one run, others are brought together in whole periods.
    const bool packs = task.rows_together == 1;
    const std::int64_t run_rows = packs ? swish_run / period * task.lane_rows : task.block_rows;
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t group = unit / blocks * task.shared_rows;
        const std::int64_t first = group + unit % blocks * task.block_rows;
        const std::int64_t last = smaller(first + task.block_rows, group + task.shared_rows);
        const C* const given = beta.fetch(group, 0, cols);
        for (std::int64_t j = given == betas ? cols : 0; j < period; j += cols)
            std::memcpy(betas + j, given, std::size_t(cols) * sizeof(C));
        const auto add = are_ones(betas, cols) ? of.summed_of_ones : of.summed;
        std::memset(lanes, 0, std::size_t(period) * sizeof(double));
        const auto fetch = [&](const Operand& operand, std::int64_t row, std::int64_t rows, S* packed) {
            const RowSpan<S> span(task.shape, operand, packed);
            if (!packs) return static_cast<const S*>(span.place(row, 0));
            for (std::int64_t i = 0; i < rows; ++i) {
                S* const place = packed + i * cols;
                const S* const found = RowSpan<S>(task.shape, operand, place).fetch(row + i, 0, cols);
                if (found != place) std::memcpy(place, found, std::size_t(cols) * sizeof(S));
            }
            return static_cast<const S*>(packed);
        };
        for (std::int64_t row = first; row < last; row += run_rows) {
            const std::int64_t rows = smaller(run_rows, last - row);
            const S* const upstream = fetch(task.dy, row, rows, space);
            const S* const source = fetch(task.x, row, rows, space + swish_run);
            S* const result =
                packs ? space + 2 * swish_run : RowSpan<S>(task.shape, task.dx, nullptr).place(row, 0);
            add(upstream, source, result, betas, lanes, rows * cols, period);
            for (std::int64_t i = 0; packs && i < rows; ++i) {
                S* const place = result + i * cols;
                const RowSpan<S> dx(task.shape, task.dx, place);
                S* const target = dx.place(row + i, 0);
                if (target != place) std::memcpy(target, place, std::size_t(cols) * sizeof(S));
                dx.write_back(row + i, 0, cols);
            }
        }
        double* const sums = task.shares ? task.shares + unit * cols : totals;
        for (std::int64_t j = 0; j < cols; ++j) sums[j] = lanes[j];
        for (std::int64_t i = 1; i < task.lane_rows; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) sums[j] += lanes[i * cols + j];
        }
        if (!are_accurate(sums, betas, cols)) {
            mark_doubtful(sums, betas, marks, cols);
            std::memset(again, 0, std::size_t(cols) * sizeof(double));
            for (std::int64_t row = first; row < last; ++row) {
                of.add_wide_terms(
                    fetch(task.dy, row, 1, space), fetch(task.x, row, 1, space + swish_run), betas, marks,
                    again, cols, no_period
                );
            }
            for (std::int64_t j = 0; j < cols; ++j) {
                if (marks[j] == 1) sums[j] = again[j];
            }
        }
        if (task.shares) continue;
        C* const result = dbeta.place(group, 0);
        for (std::int64_t j = 0; j < cols; ++j) result[j] = C(sums[j]);
        dbeta.write_back(group, 0, cols);
    }
}

FASTNORM_TARGET_END
