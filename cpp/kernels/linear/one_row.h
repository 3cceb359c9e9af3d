// The product of one row, a step of decoding: B is read once, in place where its rows or columns lie as
// neighbours.
//
// An element's chain of multiply-adds over a block of k goes from group to group of k through memory in the
// first-level cache: it is the chain of tile.h, with its bits.
#pragma once

#include <cstring>

#include "kernels/linear/packing.h"
#include "kernels/linear/tile.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

// Columns whose chains begin, go on, or end in C.
template <class C>
struct RowChains {
    using V = Vec<C, native<C>>;
    C* chain;
    C* c;
    bool begins, ends, accumulate;

    FASTNORM_INLINE RowChains from(std::int64_t col, bool first, bool last) const {
        return {chain + col, c + col, begins && first, ends && last, accumulate};
    }
    FASTNORM_INLINE V before(std::int64_t col) const {
        return begins ? broadcast<V>(0) : load<V>(static_cast<const C*>(chain) + col);
    }
    template <class Step>
    FASTNORM_INLINE void after(std::int64_t col, V sum, Step step) const {
        if (!ends) return store(chain + col, sum);
        if (accumulate) sum = load_columns<V>(static_cast<const C*>(c) + col, step) + sum;
        store_columns(c + col, sum, step);
    }
};

// Several registers of columns: as many chains as hide their latency.
template <class S, class C, int Depth>
FASTNORM_INLINE void extend_chains(
    const RowChains<C>& chains, const Vec<C, native<C>> (&a)[Depth], const S* b, std::int64_t step
) {
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    V sum[tile_vectors];
    FASTNORM_UNROLL
    for (int v = 0; v < tile_vectors; ++v) sum[v] = chains.before(v * lanes);
    FASTNORM_UNROLL
    for (int i = 0; i < Depth; ++i) {
        FASTNORM_UNROLL
        for (int v = 0; v < tile_vectors; ++v) sum[v] = mul_add(a[i], load_row<V>(b + v * lanes), sum[v]);
        b += step;
    }
    FASTNORM_UNROLL
    for (int v = 0; v < tile_vectors; ++v) chains.after(v * lanes, sum[v], Whole{});
}

// `depth` elements of A with rows of B, `step` elements apart. They are taken eight at a time: of sixteen,
// the lines of rows whose step is a multiple of 4096 bytes drive each other out of their set of the
// first-level cache where rows are not aligned (1 x 768 x 3072: 37 GB/s instead of 66, Zen 4).
template <class S, class C>
FASTNORM_OUTLINE void multiply_row(
    const C* a, std::int64_t depth, const S* b, std::int64_t step, std::int64_t cols,
    const RowChains<C>& chains
) {
    constexpr int lanes = native<C>, group = 8, width = tile_vectors * lanes;
    using V = Vec<C, lanes>;
    for (std::int64_t k = 0; k < depth; k += group) {
        const std::int64_t count = smaller(group, depth - k);
        const RowChains<C> these = chains.from(0, k == 0, k + group >= depth);
        const S* line = b + k * step;
        std::int64_t j = 0;
        if (count == group) {
            V a_k[group];
            FASTNORM_UNROLL
            for (int i = 0; i < group; ++i) a_k[i] = broadcast<V>(a[k + i]);
            for (; j + width <= cols; j += width)
                extend_chains(these.from(j, true, true), a_k, line + j, step);
        }
        for (; j < cols; j += lanes) {
            const Partial part{int(smaller(lanes, cols - j))};
            V sum = these.before(j);
            for (std::int64_t i = 0; i < count; ++i)
                sum = mul_add(broadcast<V>(a[k + i]), load_columns<V>(line + i * step + j, part), sum);
            these.after(j, sum, part);
        }
    }
}

// `depth` elements of A and `cols` columns of B, whole squares of them, columns being `step` elements apart.
// The chain of a square goes on while the next square is turned, since the processor does not look so far
// ahead, and the next columns are fetched meanwhile, line by line. Columns whose lines share one or two of
// the sets of eight lines are copied first.
template <class S, class C>
FASTNORM_OUTLINE void multiply_row_turned(
    const C* a, std::int64_t depth, const S* b, std::int64_t step, std::int64_t cols,
    const RowChains<C>& chains
) {
    constexpr int lanes = native<C>;
    constexpr std::int64_t line = 64 / sizeof(S), copy_step = depth_block + line;
    constexpr int steps_per_line = sizeof(C) / sizeof(S);  // of a chain, to fetch the columns once
    using V = Vec<C, lanes>;
    alignas(64) S copy[lanes * copy_step];
    const bool collides = step * std::int64_t(sizeof(S)) % 2048 == 0;
    V sum = broadcast<V>(0), square[lanes], turned[lanes];
    FASTNORM_UNROLL_REGISTERS
    for (int i = 0; i < lanes; ++i) square[i] = sum;
    const C* a_k = a;
    const auto extend = [&](int i)
                            FASTNORM_INLINE_LAMBDA { sum = mul_add(broadcast<V>(a_k[i]), square[i], sum); };
    for (std::int64_t j = 0; j < cols; j += lanes) {
        const S* column = b;
        std::int64_t column_step = step;
        b += lanes * step;
        if (collides) {
            for (std::int64_t l = 0; l < lanes; ++l)
                std::memcpy(copy + l * copy_step, column + l * step, std::size_t(depth) * sizeof(S));
            column = copy, column_step = copy_step;
        }
        const S* next = b;
        std::int64_t fetched = 0;
        for (std::int64_t k = 0; k < depth; k += lanes) {
            const S* ahead = next + fetched;
            load_square<S>(
                SteppedRows<S, C>(column + k, column_step), turned, [&](int i) FASTNORM_INLINE_LAMBDA {
                    extend(i);
                    if (i % steps_per_line == 0) FASTNORM_PREFETCH(ahead + i / steps_per_line * line, 0, 2);
                }
            );
            fetched += lanes / steps_per_line * line;
            if (fetched >= depth) next += step, fetched = 0;
            if (k > 0) {
                a_k += lanes;
            } else {
                // The square before was the last of other columns, or none.
                if (j > 0) chains.after(j - lanes, sum, Whole{});
                sum = broadcast<V>(0);
                a_k = a;
            }
            FASTNORM_UNROLL_REGISTERS
            for (int i = 0; i < lanes; ++i) square[i] = turned[i];
        }
    }
    FASTNORM_UNROLL_REGISTERS
    for (int i = 0; i < lanes; ++i) extend(i);
    chains.after(cols - lanes, sum, Whole{});
}

// Both for elements of B that the caller knows: B dense along its rows, or along its columns.
template <class C>
using MultiplyRow = void (*)(
    const C* a, std::int64_t depth, const void* b, std::int64_t step, std::int64_t cols,
    const RowChains<C>& chains
);
template <class C>
struct RowOfElements {
    MultiplyRow<C> plain, turned;
};
template <class S, class C>
constexpr RowOfElements<C> row_of_elements() {
    return {
        [](const C* a, std::int64_t depth, const void* b, std::int64_t step, std::int64_t cols,
           const RowChains<C>& chains) {
            multiply_row(a, depth, static_cast<const S*>(b), step, cols, chains);
        },
        [](const C* a, std::int64_t depth, const void* b, std::int64_t step, std::int64_t cols,
           const RowChains<C>& chains) {
            multiply_row_turned(a, depth, static_cast<const S*>(b), step, cols, chains);
        }
    };
}

// One row of A with a block of B: `depth` k from k on, `cols` columns from j on.
template <class C>
struct OneRow {
    const C* a;
    std::int64_t k, depth, j, cols;
    RowChains<C> chains;
};

// The terms from `begin` on of columns [from, to), which are packed into the first-level cache, a slab of
// them after the other.
template <class C>
FASTNORM_OUTLINE void multiply_slabs(
    const OneRow<C>& row, const Matrix& b, Pack<C> pack, std::int64_t begin, std::int64_t from,
    std::int64_t to
) {
    constexpr std::int64_t side = 64;
    alignas(64) C slab[side * side];
    for (; begin < row.depth; begin += side) {
        const std::int64_t depth = smaller(side, row.depth - begin);
        for (std::int64_t col = from; col < to; col += side) {
            const std::int64_t cols = smaller(side, to - col);
            pack(b, row.k + begin, depth, row.j + col, cols, slab, side);
            multiply_row<C, C>(
                row.a + begin, depth, slab, side, cols,
                row.chains.from(col, begin == 0, begin + depth == row.depth)
            );
        }
    }
}

// `narrow` is for elements of B that are not of the compute type.
template <class C>
FASTNORM_OUTLINE void multiply_one_row(
    const C* a, std::int64_t k, std::int64_t depth, std::int64_t j, std::int64_t cols, C* c, const Matrix& b,
    Pack<C> pack, const RowOfElements<C>& narrow
) {
    alignas(64) C chain[one_row_cols];
    const OneRow<C> row = {a, k, depth, j, cols, {chain, c, true, true, k > 0}};
    const std::int64_t size = b.wide ? sizeof(C) : 2;
    const std::int64_t down = b.rows.stride[0], across = b.cols.stride[0];
    const char* const first = b.data + k * down + j * across;
    std::int64_t squares = 0, turned = 0;
    if (b.aligned && b.rows.count == 1 && b.cols.count == 1) {
        const RowOfElements<C> multiply = b.wide ? row_of_elements<C, C>() : narrow;
        if (is_dense(b.cols, size)) return multiply.plain(a, depth, first, down / size, cols, row.chains);
        if (is_dense(b.rows, size)) {
            turned = cols / native<C> * native<C>;
            squares = depth / native<C> * native<C>;
        }
        if (turned > 0 && squares > 0) {
            multiply.turned(
                a, squares, first, across / size, turned, row.chains.from(0, true, squares == depth)
            );
        }
    }
    if (squares < depth) multiply_slabs(row, b, pack, squares, 0, turned);
    if (turned < cols) multiply_slabs(row, b, pack, 0, turned, cols);
}

FASTNORM_TARGET_END
