// Pairs of columns as points of the plane, turned by an angle each:
//
//   (a, b) -> (a cos - b sin, a sin + b cos)
//
// The gradient is turned back, with -sin. A product is rounded and the other fused: with u the unit roundoff
// of the compute type a result errs by at most 2 u (|a cos| + |b sin|), the same for pairs of neighbours as
// for those that lie apart. Half types compute in float and round once. Source: Su et al., "RoFormer:
// Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864 (2021).
#pragma once

#include <cstring>

#include "kernels/loops/row_tile.h"
#include "tasks/embeddings.h"

FASTNORM_TARGET_BEGIN

// How the pairs of a row are turned. (Steps that are not whole through a step of their own, or half types by
// way of rows of float, made the code no smaller and took twice the time.)
template <class T>
class TurnedRow {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;

public:
    FASTNORM_INLINE TurnedRow(const Rotation& task, bool streaming)
        : pairs_(task.pairs), direction_(broadcast<V>(C(task.direction))), streaming_(streaming) {}

    // Pairs (i, i + pairs).
    FASTNORM_INLINE void halves(const T* x, T* y, const C* cosines, const C* sines) const {
        for_columns<native<C>>(0, pairs_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V a = load_columns<V>(x + j, step), b = load_columns<V>(x + pairs_ + j, step);
            const V cosine = load_columns<V>(cosines + j, step),
                    sine = load_columns<V>(sines + j, step) * direction_;
            write_columns(y + j, mul_sub(a, cosine, b * sine), step, streaming_);
            write_columns(y + pairs_ + j, mul_add(b, cosine, a * sine), step, streaming_);
        });
    }

    // Pairs (2 i, 2 i + 1): each number times its cosine, and its neighbour times the sine, signs in turns.
    FASTNORM_INLINE void neighbours(const T* x, T* y, const C* cosines, const C* sines) const {
        using W = Vec<C, 2 * native<C>>;
        for_columns<native<C>>(0, pairs_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V cosine = load_columns<V>(cosines + j, step),
                    sine = load_columns<V>(sines + j, step) * direction_;
            W cosine_of_each, sine_of_each;
            interleave(cosine, cosine, cosine_of_each.lo, cosine_of_each.hi);
            interleave(-sine, sine, sine_of_each.lo, sine_of_each.hi);
            const auto both = twice(step);
            const W own = load_columns<W>(x + 2 * j, both), other = swap_neighbours(own);
            write_columns(y + 2 * j, mul_add(own, cosine_of_each, other * sine_of_each), both, streaming_);
        });
    }

private:
    static FASTNORM_INLINE Whole twice(Whole step) { return step; }
    static FASTNORM_INLINE Partial twice(Partial step) { return {2 * step.count}; }

    const std::int64_t pairs_;
    const V direction_;
    const bool streaming_;
};

template <class T>
void rotary_embedding(const Rotation& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    const bool packed = !task.x.contiguous || !task.y.contiguous;
    const Rows& shape = task.shape;
    const int last = shape.outer_axes - 1;
    const std::int64_t run = shape.outer_extent[last], turned = 2 * task.pairs;
    for (std::int64_t first = begin; first < end;) {
        // Rows that follow each other along the last axis are found by equal steps.
        const std::int64_t left = last == 0 ? end - first : run - first % run;
        const int count = int(smaller(left, rows_of_tile(first, end, packed)));
        x.fetch(first, count);
        y.select(first);
        const std::int64_t table =
            strided_offset(first, shape.outer_axes, shape.outer_extent, task.table_stride);
        const T* source = x.row(0);
        T* target = y.row(0);
        const std::int64_t source_step = count > 1 ? x.row(1) - source : 0,
                           target_step = count > 1 ? y.row(1) - target : 0;
        const std::uintptr_t places = reinterpret_cast<std::uintptr_t>(target) |
                                      std::uintptr_t(target_step) * sizeof(T) |
                                      (task.neighbours ? 0 : std::uintptr_t(task.pairs) * sizeof(T));
        const TurnedRow<T> row(task, task.stream && places % 64 == 0);
        for (int i = 0; i < count; ++i, source += source_step, target += target_step) {
            const std::int64_t at = table + i * task.table_stride[last];
            const C* const cosines = reinterpret_cast<const C*>(task.cosines + at);
            const C* const sines = reinterpret_cast<const C*>(task.sines + at);
            if (task.neighbours) {
                row.neighbours(source, target, cosines, sines);
            } else {
                row.halves(source, target, cosines, sines);
            }
            if (turned < shape.cols && target != source)
                std::memcpy(target + turned, source + turned, std::size_t(shape.cols - turned) * sizeof(T));
        }
        y.write_back(first, count);
        first += count;
    }
}

FASTNORM_TARGET_END
