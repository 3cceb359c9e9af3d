// The norm of a sum: summed = x + alpha * residual, y = norm(summed).
// Backward, ds being the norm's gradient of `summed` from dy:
//   dx = ds + dsummed,  dresidual = alpha * dx,  dweight and dbias those of the norm.
//
// The sum is one fused multiply-add in the compute type, rounded once more to `summed` where that is a half
// type. x and residual are read once: the sums of a few rows go to `summed` or to scratch, and the norm takes
// them from the first-level cache. The backward makes the sums again, rather than have the caller keep them.
//
// Accuracy, float32. Rounding the sum moves it by 2^-24 |summed|, and xhat by 2^-24 (|xhat| + |mean * rstd|):
// one rounding more than the norm has while the mean is near. Rows whose mean is further away than far_mean
// deviations are summed again in double, so that the bound of the norm holds whatever the mean. rms_norm has
// no such rows.
#pragma once

#include "kernels/norms/backward.h"
#include "kernels/norms/forward.h"
#include "tasks/residual_norms.h"

FASTNORM_TARGET_BEGIN

// x + alpha * residual, rounded once. The contract of the norms has no room for the rounding of the product,
// which counts by |alpha * residual| where the sum cancels: without fused multiply-add float goes through
// double.
template <class V>
FASTNORM_INLINE V add_scaled(V alpha, V residual, V x) {
    if constexpr (has_fma || sizeof(element_t<V>) == 8) {
        return mul_add(alpha, residual, x);
    } else {
        return to_float(mul_add(to_double(alpha), to_double(residual), to_double(x)));
    }
}

// total = x + alpha * residual, in the compute type, and the same as a row of `summed` where that is another
// row. Meanwhile fetches the row `ahead`.
template <class T>
void add_row(
    const T* x, const T* residual, compute_t<T> alpha, compute_t<T>* total, T* summed, const T* ahead,
    std::int64_t cols, bool streaming
) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    const V factor = broadcast<V>(alpha);
    const bool streams = streaming && summed && sizeof(T) == sizeof(C);
    const std::int64_t head = streams ? columns_to_alignment(summed, cols) : 0;
    for_columns_after<row_lanes>(head, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        prefetch_read(ahead + j);
        const V sum = add_scaled(factor, load_columns<V>(residual + j, step), load_columns<V>(x + j, step));
        store_columns(total + j, sum, step);
        if (summed) write_columns(summed + j, sum, step, streams);
    });
}

// The same in double.
template <class T>
void add_row_in_double(const T* x, const T* residual, double alpha, double* total, std::int64_t cols) {
    using V = Vec<double, row_lanes>;
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V sum =
            mul_add(broadcast<V>(alpha), load_columns<V>(residual + j, step), load_columns<V>(x + j, step));
        store_columns(total + j, sum, step);
    });
}

template <class C, class T>
FASTNORM_INLINE void copy_row(const C* source, T* target, std::int64_t cols) {
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(target + j, load_columns<Vec<C, row_lanes>>(source + j, step), step);
    });
}

constexpr double far_mean = 2;

// Whether the rounding of the sums of a row shows when its mean is subtracted, or one of them overflowed.
template <class T>
FASTNORM_INLINE bool is_far_mean(double mean, double rstd) {
    return sizeof(compute_t<T>) == 4 && !(__builtin_fabs(mean) * rstd <= far_mean);
}

// The sums of a few rows, in scratch, and those of one in double.
template <class C>
class TotalRows {
public:
    FASTNORM_INLINE TotalRows(std::int64_t cols, char*& scratch)
        : rows_(reinterpret_cast<C*>(scratch)),
          step_(packed_row_bytes(cols, sizeof(C)) / std::int64_t(sizeof(C))) {
        scratch += summed_bytes(cols, sizeof(C));
    }
    FASTNORM_INLINE C* row(int k) const { return rows_ + k * step_; }
    FASTNORM_INLINE double* in_double() const { return reinterpret_cast<double*>(row(summed_rows)); }

private:
    C* rows_;
    std::int64_t step_;
};

// y of the rows whose mean is far, from their sums in double.
template <class Norm, class T>
struct FarRows {
    const AddNormForward& task;
    const T* const* x;
    const T* const* residual;
    T* const* y;
    double* total;

    FASTNORM_INLINE bool refine([[maybe_unused]] int r, double mean, double rstd) const {
        if constexpr (Norm::centred && sizeof(compute_t<T>) == 4) {
            if (!is_far_mean<T>(mean, rstd)) return false;
            const std::int64_t cols = task.norm.shape.cols;
            add_row_in_double(x[r], residual[r], double(compute_t<T>(task.alpha)), total, cols);
            const Centre<double> centre = double_centre(total, cols, task.norm.eps, mean, rstd);
            const double* const source = total;
            const T* const ahead = y[r];
            apply_rows<true, 1>(task.norm, &source, y + r, &ahead, &centre);
            return true;
        }
        return false;
    }
};

template <class Norm, class T>
FASTNORM_INLINE void add_norm_forward(
    const AddNormForward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    static_assert(forward_rows_together <= summed_rows, "scratch is for summed_rows");
    const Rows& shape = task.norm.shape;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(shape, task.norm.x, space), residual(shape, task.residual, space),
        y(shape, task.norm.y, space);
    RowTile<T> summed(shape, task.summed, space);
    const TotalRows<C> totals(shape.cols, space);
    const RowNorm<Norm, C, T> norm(task.norm);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        x.fetch(first, count);
        residual.fetch(first, count);
        y.select(first);
        summed.select(first);
        int together;
        for (int i = 0; i < count; i += together) {
            together = rows_to_take(i, count);
            const std::int64_t next = together * shape.cols;
            const T* terms[forward_rows_together];
            const T* others[forward_rows_together];
            const C* sources[forward_rows_together];
            T* targets[forward_rows_together];
            const T* ahead[forward_rows_together];
            for (int r = 0; r < together; ++r) {
                terms[r] = x.row(i + r), others[r] = residual.row(i + r), targets[r] = y.row(i + r);
                ahead[r] = others[r] + next;
                C* total = totals.row(r);
                T* sum = task.summed.data && !task.replaces ? summed.row(i + r) : nullptr;
                if constexpr (sizeof(T) == sizeof(C)) {
                    if (sum && !task.norm.stream) total = sum, sum = nullptr;
                }
                add_row(
                    terms[r], others[r], C(task.alpha), total, sum, terms[r] + next, shape.cols,
                    task.norm.stream
                );
                sources[r] = total;
            }
            const FarRows<Norm, T> far{task, terms, others, targets, totals.in_double()};
            norm.write(first + i, together, sources, targets, ahead, far);
            if (task.replaces) {
                // Only now are x and residual not wanted any more.
                for (int r = 0; r < together; ++r) copy_row(sources[r], summed.row(i + r), shape.cols);
            }
        }
        y.write_back(first, count);
        if (task.summed.data) summed.write_back(first, count);
    }
}

// A tile of the arrays of the backward; the sums of the rows taken are made again.
template <class T>
struct AddBackwardTile {
    using Element = T;
    using Value = compute_t<T>;

    const NormBackward& task;
    const AddNormBackward& add;
    int taken = 0;
    RowTile<T> dy, x, residual, dsummed, dx, dresidual;
    ParameterSums<Value> sums;
    TotalRows<Value> totals;

    FASTNORM_INLINE AddBackwardTile(const AddNormBackward& backward, char* scratch)
        : task(backward.norm),
          add(backward),
          dy(task.shape, task.dy, scratch),
          x(task.shape, task.x, scratch),
          residual(task.shape, backward.residual, scratch),
          dsummed(task.shape, backward.dsummed, scratch),
          dx(task.shape, task.dx, scratch),
          dresidual(task.shape, backward.dresidual, scratch),
          sums(task.shape.cols, scratch),
          totals(task.shape.cols, scratch) {}

    FASTNORM_INLINE void fetch(std::int64_t first, int count) {
        dy.fetch(first, count);
        x.fetch(first, count);
        residual.fetch(first, count);
        if (add.dsummed.data) dsummed.fetch(first, count);
        dx.select(first);
        dresidual.select(first);
    }
    FASTNORM_INLINE void write_back(std::int64_t first, int count) {
        dx.write_back(first, count);
        dresidual.write_back(first, count);
    }

    FASTNORM_INLINE void take(int i, int count) {
        taken = i;
        for (int k = 0; k < count; ++k) {
            const T* row = x.row(i + k);
            T* const nowhere = nullptr;
            const T* const ahead = row + count * task.shape.cols;
            add_row(
                row, residual.row(i + k), Value(add.alpha), totals.row(k), nowhere, ahead, task.shape.cols,
                false
            );
        }
    }
    FASTNORM_INLINE const Value* value(int k) const { return totals.row(k); }

    template <int R>
    struct Results {
        T* dx[R];
        T* dresidual[R];
        const T* dsummed[R];
        const T* ahead[R];
        bool has_dsummed;
        Value alpha;

        template <class V, class Step>
        FASTNORM_INLINE void write(int r, std::int64_t j, V gradient, Step step, bool streaming) const {
            if (has_dsummed) gradient = gradient + load_columns<V>(dsummed[r] + j, step);
            write_columns(dx[r] + j, gradient, step, streaming);
            write_columns(dresidual[r] + j, gradient * broadcast<V>(alpha), step, streaming);
        }
    };
    template <int R>
    FASTNORM_INLINE Results<R> results(int k) const {
        Results<R> rows;
        for (int r = 0; r < R; ++r) {
            const int i = taken + k + r;
            rows.dx[r] = dx.row(i), rows.dresidual[r] = dresidual.row(i), rows.ahead[r] = residual.row(i);
            rows.dsummed[r] = add.dsummed.data ? dsummed.row(i) : nullptr;
        }
        rows.has_dsummed = add.dsummed.data != nullptr;
        rows.alpha = Value(add.alpha);
        return rows;
    }
    FASTNORM_INLINE bool may_stream(int k) const {
        const int i = taken + k;
        return columns_to_alignment(dx.row(i), row_lanes) == 0 &&
               columns_to_alignment(dresidual.row(i), row_lanes) == 0;
    }

    FASTNORM_INLINE bool is_far(double mean, double rstd) const { return is_far_mean<T>(mean, rstd); }
    template <class Norm>
    FASTNORM_INLINE void far_row(int k) const;
};

// One row of a tile with its sums in double.
template <class T>
struct FarBackwardTile : AddBackwardTile<T> {
    using Value = double;

    FASTNORM_INLINE explicit FarBackwardTile(const AddBackwardTile<T>& tile) : AddBackwardTile<T>(tile) {}
    FASTNORM_INLINE const double* value(int) const { return this->totals.in_double(); }
};

// The k-th row taken, whose mean is far.
template <class T>
template <class Norm>
FASTNORM_INLINE void AddBackwardTile<T>::far_row(int k) const {
    if constexpr (Norm::centred && sizeof(Value) == 4) {
        const int i = taken + k;
        double mean, rstd, *const total = totals.in_double();
        add_row_in_double(x.row(i), residual.row(i), double(Value(add.alpha)), total, task.shape.cols);
        Norm::returned(task, static_cast<const double*>(total), total, mean, rstd);
        const FarBackwardTile<T> far(*this);
        backward_rows<double, true, 1>(far, k, &mean, &rstd);
    }
}

// The loss depends on the sum alone: dx = dsummed, and no parameter matters.
template <class T>
FASTNORM_INLINE void pass_on_blocks(AddBackwardTile<T>& tile, std::int64_t begin, std::int64_t end) {
    using V = Vec<compute_t<T>, row_lanes>;
    const NormBackward& task = tile.task;
    const std::int64_t cols = task.shape.cols;
    const V alpha = broadcast<V>(compute_t<T>(tile.add.alpha));
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t last = smaller((block + 1) * task.block_rows, task.shape.rows);
        if (task.dweight_partials)
            tile.sums.start(task.dweight_partials + block * cols, task.dbias_partials + block * cols);
        for (std::int64_t first = block * task.block_rows; first < last; first += tile_rows) {
            const int count = int(smaller(tile_rows, last - first));
            tile.dsummed.fetch(first, count);
            tile.dx.select(first);
            tile.dresidual.select(first);
            for (int i = 0; i < count; ++i) {
                const T* dsummed = tile.dsummed.row(i);
                T* dx = tile.dx.row(i);
                T* dresidual = tile.dresidual.row(i);
                for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                    const V gradient = load_columns<V>(dsummed + j, step);
                    store_columns(dx + j, gradient, step);
                    store_columns(dresidual + j, gradient * alpha, step);
                });
            }
            tile.write_back(first, count);
        }
    }
}

template <class Norm, class T>
FASTNORM_INLINE void add_norm_backward(
    const AddNormBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    static_assert(backward_rows_together <= summed_rows, "scratch is for summed_rows");
    AddBackwardTile<T> tile(task, static_cast<char*>(scratch));
    if (task.norm.dy.data) {
        backward_blocks<Norm>(tile, begin, end);
    } else {
        pass_on_blocks(tile, begin, end);
    }
}

FASTNORM_TARGET_END
