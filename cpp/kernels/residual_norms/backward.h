// The backward of the norms of a sum, ds being the norm's gradient of `summed` from dy:
//   dx = ds + dsummed,  dresidual = alpha * dx,  dweight and dbias those of the norm.
// The sums are made again, rather than have the caller keep them.
#pragma once

#include "kernels/norms/backward.h"
#include "kernels/residual_norms/sums.h"

FASTNORM_TARGET_BEGIN

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
          sums(task.weight, task.shape.cols, scratch),
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
        double mean, rstd, n = double(task.shape.cols), *const total = totals.in_double();
        add_row_in_double(x.row(i), residual.row(i), double(Value(add.alpha)), total, task.shape.cols);
        Norm::returned(task, static_cast<const double*>(total), mean, rstd, n);
        const FarBackwardTile<T> far(*this);
        backward_in_double<true, 1>(far, k, &mean, &rstd, &n);
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
        if (task.dweight_partials) tile.sums.start(task, block);
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
        if (task.dweight_partials) tile.sums.finish();
    }
}

template <class Norm, class T>
FASTNORM_INLINE void add_norm_backward(
    const AddNormBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    static_assert(backward_rows_together <= summed_rows, "scratch is for summed_rows");
    AddBackwardTile<T> tile(task, static_cast<char*>(scratch));
    if (task.norm.dy.data) {
        RowsOnly<compute_t<T>>* const few = nullptr;
        backward_blocks<Norm>(tile, few, begin, end);
    } else {
        pass_on_blocks(tile, begin, end);
    }
}

FASTNORM_TARGET_END
