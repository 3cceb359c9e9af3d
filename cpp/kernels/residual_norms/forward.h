// The forward of the norms of a sum: summed = x + alpha * residual, y = norm(summed). x and residual are read
// once: the sums of a few rows go to `summed` or to scratch, and the norm takes them from the first-level
// cache.
#pragma once

#include "kernels/norms/forward.h"
#include "kernels/norms/layer_norm.h"
#include "kernels/residual_norms/sums.h"

FASTNORM_TARGET_BEGIN

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

FASTNORM_TARGET_END
