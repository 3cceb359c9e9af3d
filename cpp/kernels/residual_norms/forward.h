// The forward of the norms of a sum: summed = x + alpha * residual, y = norm(summed). x and residual are read
// once: the sums of a row go to `summed` or to scratch while the row before is written, and the norm takes
// them from the first-level cache.
#pragma once

#include "kernels/norms/forward.h"
#include "kernels/norms/layer_norm.h"
#include "kernels/residual_norms/sums.h"

FASTNORM_TARGET_BEGIN

// A row of sums as the source of statistics: it is written to `total`, and to `summed` where that is not
// null, as it is taken. Meanwhile the rows after x and residual are fetched, where they are wanted.
template <class T>
struct SummedRow {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;

    const T* x;
    const T* residual;
    C* total;
    T* summed;
    C alpha;
    std::int64_t ahead;  // elements, 0 where nothing is wanted
    int halving;
    bool streaming;  // of `summed`

    template <class Step>
    FASTNORM_INLINE V peek(std::int64_t j, Step step, C fill) const {
        const V others = load_columns<V>(residual + j, step, 0);
        return add_scaled(broadcast<V>(alpha), others, load_columns<V>(x + j, step, fill));
    }
    template <class Step>
    FASTNORM_INLINE V take(std::int64_t j, Step step, C fill) const {
        if (ahead) {
            prefetch_read(x + ahead + (j >> halving));
            prefetch_read(residual + ahead + (j >> halving));
        }
        const V sum = peek(j, step, fill);
        store_columns(total + j, sum, step);
        if (summed) write_columns(summed + j, sum, step, streaming);
        return sum;
    }
    FASTNORM_INLINE C first() const {
        return C(double(widen(*x)) + double(alpha) * double(widen(*residual)));
    }
};

// Where the rows of add_norm_forward come from.
template <class Norm, class T>
class SummedFeed {
public:
    using C = compute_t<T>;
    using Row = NormRow<C, T>;

    FASTNORM_INLINE SummedFeed(
        const AddNormForward& task, const RowTile<T>& x, const RowTile<T>& residual, const RowTile<T>& y,
        const RowTile<T>& summed, const TotalRows<C>& totals
    )
        : task_(task), x_(x), residual_(residual), y_(y), summed_(summed), totals_(totals) {}

    FASTNORM_INLINE Row at(int i) const { return {i, total(i), y_.row(i)}; }
    FASTNORM_INLINE SummedRow<T> source(const Row& row, int halving) const {
        const int i = row.place;
        const bool stream = task_.norm.stream;
        T* const sum = apart(i);
        const bool streams = stream && sizeof(T) == sizeof(C) && columns_to_alignment(sum, row_lanes) == 0;
        return {x_.row(i), residual_.row(i), total(i),
                sum,       C(task_.alpha),   stream ? task_.norm.shape.cols : 0,
                halving,   streams};
    }
    FASTNORM_INLINE const T* stored(const Row& row) const { return residual_.row(row.place); }
    FASTNORM_INLINE void prepare(const Row& row) const {
        const int i = row.place;
        const std::int64_t cols = task_.norm.shape.cols;
        add_row(
            x_.row(i), residual_.row(i), C(task_.alpha), total(i), apart(i), x_.row(i) + cols, cols,
            task_.norm.stream
        );
    }
    FASTNORM_INLINE bool is_far([[maybe_unused]] const Row& row) const {
        return Norm::centred && is_far_mean<T>(row.known.mean, row.known.rstd);
    }
    // y of a row whose mean is far, from its sums in double.
    FASTNORM_INLINE void write_far([[maybe_unused]] const Row& row) const {
        if constexpr (Norm::centred && sizeof(C) == 4) {
            const int i = row.place;
            const std::int64_t cols = task_.norm.shape.cols;
            double mean, rstd, *const sums = totals_.in_double();
            add_row_in_double(x_.row(i), residual_.row(i), double(C(task_.alpha)), sums, cols);
            const double* const source = sums;
            const Centre<double> centre = double_centre(source, cols, task_.norm.eps, mean, rstd);
            apply_row<true>(task_.norm, source, row.y, row.y, centre);
        }
    }
    FASTNORM_INLINE void finish(const Row& row) const {
        // Only now are x and residual not wanted any more.
        if (task_.replaces) copy_row(row.x, summed_.row(row.place), task_.norm.shape.cols);
    }

private:
    FASTNORM_INLINE bool wanted() const { return task_.summed.data && !task_.replaces; }
    // Whether `summed` itself holds the sums that the norm takes.
    FASTNORM_INLINE bool in_place() const { return sizeof(T) == sizeof(C) && wanted() && !task_.norm.stream; }
    FASTNORM_INLINE C* total(int i) const {
        if constexpr (sizeof(T) == sizeof(C)) {
            if (in_place()) return summed_.row(i);
        }
        return totals_.row(i & 1);
    }
    FASTNORM_INLINE T* apart(int i) const { return wanted() && !in_place() ? summed_.row(i) : nullptr; }

    const AddNormForward& task_;
    const RowTile<T>& x_;
    const RowTile<T>& residual_;
    const RowTile<T>& y_;
    const RowTile<T>& summed_;
    const TotalRows<C>& totals_;
};

template <class Norm, class T>
FASTNORM_INLINE void add_norm_forward(
    const AddNormForward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    using C = compute_t<T>;
    const Rows& shape = task.norm.shape;
    char* space = static_cast<char*>(scratch);
    const WholeParameters<C> parameters(task.norm, merges<Norm, T>(task.norm), Norm::centred, space);
    RowTile<T> x(shape, task.norm.x, space), residual(shape, task.residual, space),
        y(shape, task.norm.y, space);
    RowTile<T> summed(shape, task.summed, space);
    const TotalRows<C> totals(shape.cols, space);
    const SummedFeed<Norm, T> feed(task, x, residual, y, summed, totals);
    const bool packed =
        !(task.norm.x.contiguous && task.residual.contiguous && task.norm.y.contiguous &&
          task.summed.contiguous);
    int count;
    for (std::int64_t first = begin; first < end; first += count) {
        count = rows_of_tile(first, end, packed);
        x.fetch(first, count);
        residual.fetch(first, count);
        y.select(first);
        summed.select(first);
        NormRows<Norm, C, T, SummedFeed<Norm, T>>(task.norm, parameters, feed, first, count).write();
        y.write_back(first, count);
        if (task.summed.data) summed.write_back(first, count);
    }
}

FASTNORM_TARGET_END
