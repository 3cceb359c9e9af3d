// The forward that layer_norm and rms_norm share: y of a row while the statistics of the next are taken.
//
// Stores and what they fetch set the time of writing y, and arithmetic that of the statistics; in one loop
// the second hides behind the first, and what is read next is under way in time. At 512 x 768, one Zen 4
// core, NumPy's alignment of 16 bytes, cycles a vector of 16 elements, where a copy takes 4.8: rms_norm 10.1
// and layer_norm 12.1 one after the other with sums in double, 7.1 and 9.3 in one loop.
#pragma once

#include "kernels/loops/moments.h"
#include "kernels/loops/row_tile.h"
#include "kernels/norms/centring.h"
#include "kernels/norms/few_forward.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// Longer rows are not taken in one loop: what comes between taking a row's statistics and writing it drives
// the row out of the first-level cache. rms_norm, cycles a vector in one loop and one after the other: 5.8
// and 6.6 at 768 columns, 6.1 and 6.6 at 1024, 6.5 and 6.3 at 2048, 9.2 and 7.1 at 3072. *Zen 4.*
constexpr std::int64_t merged_columns = 1536;

// Whether the rows of a task are written while the statistics of those after them are taken: not those of
// half types, which take more work than memory does, and without wide registers there is nothing to hide.
template <class T>
constexpr bool can_merge = sizeof(T) == 4 && native<float> > 4;
template <class Norm, class T>
FASTNORM_INLINE bool merges(const NormForward& task) {
    return can_merge<T> && task.shape.rows >= merged_rows && task.shape.cols <= merged_columns &&
           (Norm::centred || (!task.bias && task.counted == task.shape.cols));
}

// Weight and bias of such a task, in whole lines: a vector that lies across two lines takes half as long
// again to load, and NumPy aligns to 16 bytes. Made once for the rows of a call.
template <class S>
class WholeParameters {
public:
    const S* weight = nullptr;
    const S* bias = nullptr;

    FASTNORM_INLINE WholeParameters(const NormForward& task, bool wanted, bool centred, char*& scratch) {
        if (!wanted) return;
        weight = whole(task.weight, 1, task.shape.cols, scratch);
        if (centred) bias = whole(task.bias, -S(0), task.shape.cols, scratch);
    }

private:
    static FASTNORM_INLINE const S* whole(const void* given, S absent, std::int64_t cols, char*& scratch) {
        S* const room = reinterpret_cast<S*>(scratch);
        scratch += packed_row_bytes(cols, sizeof(S));
        if (given && reinterpret_cast<std::uintptr_t>(given) % 64 == 0) return static_cast<const S*>(given);
        copy_parameter(given, absent, cols, room);
        return room;
    }
};

// How a row whose statistics are known is written, a vector of columns at a time: y = affine(xhat). Centred:
// layer_norm; else rms_norm, whose rows have no mean.
template <bool Centred, class X, class T, class C>
class AppliedRow {
    using V = Vec<C, row_lanes>;

public:
    FASTNORM_INLINE AppliedRow(const NormForward& task, const X* x, T* y, const Centre<C>& centre)
        : lanes_(CentreLanes<V>::of(centre)),
          x_(x),
          y_(y),
          streaming_(task.stream && sizeof(T) == sizeof(C)) {}

    // Columns before whole lines of y begin, where they are wanted.
    FASTNORM_INLINE std::int64_t head(std::int64_t cols) const {
        return streaming_ ? columns_to_alignment(y_, cols) : 0;
    }
    template <class Step>
    FASTNORM_INLINE V xhat(std::int64_t j, Step step) const {
        return normalised<V, Centred>(x_ + j, step, lanes_);
    }
    template <class Step>
    FASTNORM_INLINE void write(std::int64_t j, V y, Step step) const {
        write_columns(y_ + j, y, step, streaming_);
    }

private:
    CentreLanes<V> lanes_;
    const X* x_;
    T* y_;
    bool streaming_;
};

// y of a row. Where it is streamed, half of the row `ahead` is fetched meanwhile: memory is to be read all
// the time, and the other half is while the statistics are taken.
template <bool Centred, class X, class T, class C>
void apply_row(const NormForward& task, const X* x, T* y, const T* ahead, const Centre<C>& centre) {
    using V = Vec<C, row_lanes>;
    const std::int64_t cols = task.shape.cols;
    const Parameters<compute_t<T>> parameters(task.weight, task.bias);
    const AppliedRow<Centred, X, T, C> row(task, x, y, centre);
    const bool fetches = task.stream;
    for_columns_after<row_lanes>(row.head(cols), cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        if (fetches) prefetch_read(ahead + (j + cols) / 2);
        const V weight = parameters.template weight<V>(j, step), bias = parameters.template bias<V>(j, step);
        row.write(j, mul_add(row.xhat(j, step), weight, bias), step);
    });
}

// A row of a tile: where it lies, or will once it has been taken from its source; where y goes, and what is
// known of it.
template <class X, class T>
struct NormRow {
    int place;
    const X* x;
    T* y;
    Statistics known{0, 0};
};

// The norm of rows [first, first + count) of a task. Norm is LayerNorm or RmsNorm:
//   Norm::centred
//   Norm::Sums                               what the statistics of a row follow from (loops/moments.h)
//   Norm::finish(task, sums, x)              the statistics
//   Norm::exact(task, x)                     the same, summed in double
//   Norm::centre(task, x, mean, rstd)        of a float64 row
// Feed says where the rows come from; they lie in memory as X:
//   feed.at(i)          row i of the tile; two that follow each other are in use
//   feed.source(row, h) its source, which fetches (a half of, for h = 1) what is wanted after it
//   feed.stored(row)    where that reads
//   feed.prepare(row)   writes a row of float64 to row.x
//   feed.is_far(row)    whether y is to be written by
//   feed.write_far(row) instead, from more than row.x knows
//   feed.finish(row)    y is written
template <class Norm, class X, class T, class Feed>
class NormRows {
    using C = compute_t<T>;
    using Row = NormRow<X, T>;

public:
    FASTNORM_INLINE NormRows(
        const NormForward& task, const WholeParameters<C>& parameters, const Feed& feed, std::int64_t first,
        int count
    )
        : task_(task),
          parameters_(parameters),
          feed_(feed),
          first_(first),
          count_(count),
          counted_(Norm::centred ? task.shape.cols : task.counted) {}

    FASTNORM_INLINE void write() const {
        Row row = feed_.at(0);
        row.known = measured(row);
        for (int i = 1; i < count_; ++i) {
            Row next = feed_.at(i);
            if constexpr (sizeof(C) == 4) report(row);
            if (!advance(row, next)) {
                row.known = applied(row);
                next.known = measured(next);
            }
            finish(row);
            row = next;
        }
        if constexpr (sizeof(C) == 4) report(row);
        row.known = applied(row);
        finish(row);
    }

private:
    // The statistics of a row; of float64 ones they are taken as y is written.
    FASTNORM_OUTLINE Statistics measured(Row row) const {
        if constexpr (sizeof(C) == 8) {
            feed_.prepare(row);
            return {0, 0};
        } else {
            typename Norm::Sums sums;
            sum_row(sums, feed_.source(row, 1), counted_);
            return Norm::finish(task_, sums, row.x);
        }
    }

    // Writes y of a row while it takes the statistics of the next. False if that cannot be.
    FASTNORM_INLINE bool advance(const Row& row, Row& next) const {
        if constexpr (can_merge<T>) {
            using V = Vec<C, row_lanes>;
            if (!parameters_.weight || !fits_float(row.known.mean, row.known.rstd) || feed_.is_far(row) ||
                (task_.stream && columns_to_alignment(row.y, row_lanes) != 0))
                return false;
            const std::int64_t cols = task_.shape.cols;
            const AppliedRow<Norm::centred, X, T, C> target(
                task_, row.x, row.y, centre_of<C>(row.known.mean, row.known.rstd)
            );
            const auto source = feed_.source(next, 0);
            const C* const weight = parameters_.weight;
            const C* const bias = parameters_.bias;
            typename Norm::Sums sums;
            sums.begin(source, cols);
            for_folded_columns(
                cols,
                [&](std::int64_t j, auto step, int turn) FASTNORM_INLINE_LAMBDA {
                    // Loads first: they would wait for stores to the same place of another page.
                    V y = target.xhat(j, step);
                    const V w = load_columns<V>(weight + j, step);
                    if constexpr (Norm::centred) {
                        y = mul_add(y, w, load_columns<V>(bias + j, step));
                    } else {
                        y = y * w;
                    }
                    sums.add(source.take(j, step, sums.fill()), turn);
                    target.write(j, y, step);
                },
                [&]() FASTNORM_INLINE_LAMBDA { sums.fold(); }
            );
            next.known = Norm::finish(task_, sums, next.x);
            return true;
        }
        return false;
    }

    // y of a row, in double where it is of float or half type and its statistics leave float's comfortable
    // range.
    FASTNORM_OUTLINE Statistics applied(Row row) const {
        const T* const ahead = feed_.stored(row) + task_.shape.cols;
        if constexpr (sizeof(C) == 8) {
            const Centre<double> centre = Norm::centre(task_, row.x, row.known.mean, row.known.rstd);
            apply_row<Norm::centred>(task_, row.x, row.y, ahead, centre);
        } else if (feed_.is_far(row)) {
            feed_.write_far(row);
        } else if (fits_float(row.known.mean, row.known.rstd)) {
            apply_row<Norm::centred>(
                task_, row.x, row.y, ahead, centre_of<C>(row.known.mean, row.known.rstd)
            );
        } else {
            apply_row<Norm::centred>(
                task_, row.x, row.y, ahead, centre_of<double>(row.known.mean, row.known.rstd)
            );
        }
        return row.known;
    }

    FASTNORM_INLINE void finish(const Row& row) const {
        feed_.finish(row);
        if constexpr (sizeof(C) == 8) report(row);
    }

    // Returns the statistics of a row, if they are wanted: of float and half types before y takes the place
    // of x, since those that y is written with are not one rounding from the exact ones.
    FASTNORM_INLINE void report(const Row& row) const {
        if (!task_.mean && !task_.rstd) return;
        Statistics returned = row.known;
        if constexpr (sizeof(C) == 4) returned = Norm::exact(task_, row.x);
        const std::int64_t place = first_ + row.place;
        if (task_.mean) static_cast<C*>(task_.mean)[place] = C(returned.mean);
        if (task_.rstd) static_cast<C*>(task_.rstd)[place] = C(returned.rstd);
    }

    const NormForward& task_;
    const WholeParameters<C>& parameters_;
    const Feed& feed_;
    const std::int64_t first_;
    const int count_;
    const std::int64_t counted_;
};

// Rows as they are stored.
template <class T>
class StoredFeed {
public:
    using Row = NormRow<T, T>;

    FASTNORM_INLINE StoredFeed(const RowTile<T>& x, const RowTile<T>& y, const NormForward& task)
        : x_(x), y_(y), fetches_(task.stream), cols_(task.shape.cols) {}

    FASTNORM_INLINE Row at(int i) const { return {i, x_.row(i), y_.row(i)}; }
    FASTNORM_INLINE StoredRow<T> source(const Row& row, int halving) const {
        return {row.x, fetches_ ? row.x + cols_ : nullptr, halving};
    }
    FASTNORM_INLINE const T* stored(const Row& row) const { return row.x; }
    static constexpr void prepare(const Row&) {}
    static constexpr bool is_far(const Row&) { return false; }
    static constexpr void write_far(const Row&) {}
    static constexpr void finish(const Row&) {}

private:
    const RowTile<T>& x_;
    const RowTile<T>& y_;
    const bool fetches_;
    const std::int64_t cols_;
};

// The forward of a norm over rows [begin, end).
template <class Norm, class T>
FASTNORM_INLINE void norm_forward(
    const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    char* space = static_cast<char*>(scratch);
    const WholeParameters<compute_t<T>> parameters(task, merges<Norm, T>(task), Norm::centred, space);
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    const StoredFeed<T> feed(x, y, task);
    const bool packed = !(task.x.contiguous && task.y.contiguous);
    const auto write_rows = [&](std::int64_t first, std::int64_t last) FASTNORM_INLINE_LAMBDA {
        const int count = rows_of_tile(first, last, packed);
        x.fetch(first, count);
        y.select(first);
        NormRows<Norm, T, T, StoredFeed<T>>(task, parameters, feed, first, count).write();
        y.write_back(first, count);
        return count;
    };
    std::int64_t count, by_row = end;
    if constexpr (takes_few<T>) {
        const FewForward few(task, element_of<T>, Norm::centred);
        if (few.takes()) by_row = begin;
        for (std::int64_t first = begin; first < end; first += count) {
            count = first < by_row ? 0 : few.write(first, end, by_row);
            if (count == 0) count = write_rows(first, by_row);
        }
    } else {
        for (std::int64_t first = begin; first < end; first += count) count = write_rows(first, by_row);
    }
}

FASTNORM_TARGET_END
