// The innermost loop of every matrix product: a tile of C = A B in registers.
//
// Each element of C is one chain of multiply-adds over k in ascending order, whatever the tile, its position and the
// width of the registers, so every element has the same bits on all targets with fused multiply-add.
#pragma once

#include "simd/transpose.h"
#include "simd/rows.h"

FASTNORM_TARGET_BEGIN

// A tile takes `rows` rows of A and `vectors` registers of columns of B. With 32 registers 14 x 2 accumulators, the two
// vectors of B and a broadcast element of A fill 31 of them, and every element of A that is loaded is used twice: 16
// loads for 28 multiply-adds. With 16 registers 6 x 2 do the same. Few rows take more columns, to keep the eight
// multiply-adds in flight that their latency asks for.
constexpr bool many_registers = native<double> == 8;
constexpr int tile_height = many_registers ? 14 : 6;
constexpr int tile_vectors(int rows) {
    return rows > 4 ? 2 : rows > 2 ? (many_registers ? 4 : 2) : rows > 1 && !many_registers ? 4 : 8;
}
constexpr std::int64_t fetch_ahead = 8;
template <class C>
constexpr int panel_cols = 2 * native<C>;

// How the elements of A lie in memory: k along a row of neighbours (`step` from row to row), or the rows as neighbours
// (`step` from k to k).
enum class Lines { along_depth, along_rows };

template <class C>
struct Tile {
    const C* a;
    std::int64_t a_step;
    const C* b;  // row k of B begins at b + k * b_step
    std::int64_t b_step;
    std::int64_t b_panel;  // from one panel of panel_cols columns to the next
    std::int64_t depth;
    C* c;
    std::int64_t c_step;
    std::int64_t cols;  // of a partial tile
    bool accumulate;    // C = C + A B
    bool relu;
    const C* col_bias;  // or null: one for each column, or for each row, added last
    const C* row_bias;
};

// Of vector v in a tile of `cols` columns, the lanes that are there.
template <class C>
FASTNORM_INLINE int lanes_left(std::int64_t cols, int v) {
    const std::int64_t left = cols - v * native<C>;
    return int(left < 0 ? 0 : left > native<C> ? native<C> : left);
}
template <class C, bool Partial>
FASTNORM_INLINE Vec<C, native<C>> load_tile(const C* source, int v, std::int64_t cols) {
    using V = Vec<C, native<C>>;
    if constexpr (Partial) {
        return load_partial<V>(source, lanes_left<C>(cols, v), 0);
    } else {
        return load<V>(source);
    }
}

template <class C, int Rows, int vectors, Lines lines, bool Partial>
void multiply_tile(const Tile<C>& t) {
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    V sum[Rows][vectors];
    FASTNORM_UNROLL_REGISTERS
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v) sum[r][v] = broadcast<V>(0);
    }
    // What the tile is added to or written over arrives meanwhile.
    FASTNORM_UNROLL_REGISTERS
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v) __builtin_prefetch(t.c + r * t.c_step + v * lanes, 1, 3);
    }
    // One address for three rows: fourteen would not fit the general registers.
    constexpr int groups = (Rows + 2) / 3;
    const C* a[groups];
    FASTNORM_UNROLL_REGISTERS
    for (int g = 0; g < groups; ++g) a[g] = t.a + 3 * g * (lines == Lines::along_depth ? t.a_step : 1);
    const std::int64_t a_step = t.a_step, b_step = t.b_step, b_panel = t.b_panel, cols = t.cols;
    const C* b = t.b;
    const auto step = [&](int ahead) FASTNORM_INLINE_LAMBDA {
        V b_k[vectors];
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v) b_k[v] = load_tile<C, Partial>(b + v / 2 * b_panel + v % 2 * lanes, v, cols);
        // B comes from the second-level cache, A stays in the first.
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v)
            __builtin_prefetch(b + fetch_ahead * b_step + v / 2 * b_panel + v % 2 * lanes, 0, 3);
        FASTNORM_UNROLL_REGISTERS
        for (int r = 0; r < Rows; ++r) {
            const C* element = lines == Lines::along_depth ? a[r / 3] + r % 3 * a_step + ahead : a[0] + r;
            const V a_k = broadcast<V>(*element);
            FASTNORM_UNROLL_REGISTERS
            for (int v = 0; v < vectors; ++v) sum[r][v] = mul_add(a_k, b_k[v], sum[r][v]);
        }
        b += b_step;
        if constexpr (lines == Lines::along_rows) a[0] += a_step;
    };
    std::int64_t k = 0;
    for (; k + 4 <= t.depth; k += 4) {
        FASTNORM_UNROLL_REGISTERS
        for (int ahead = 0; ahead < 4; ++ahead) step(ahead);
        if constexpr (lines == Lines::along_depth) {
            FASTNORM_UNROLL_REGISTERS
            for (int g = 0; g < groups; ++g) a[g] += 4;
        }
    }
    for (; k < t.depth; ++k) {
        step(0);
        if constexpr (lines == Lines::along_depth) {
            FASTNORM_UNROLL_REGISTERS
            for (int g = 0; g < groups; ++g) a[g] += 1;
        }
    }
    const auto for_sums = [&](auto change) FASTNORM_INLINE_LAMBDA {
        FASTNORM_UNROLL_REGISTERS
        for (int r = 0; r < Rows; ++r) {
            FASTNORM_UNROLL_REGISTERS
            for (int v = 0; v < vectors; ++v) sum[r][v] = change(sum[r][v], r, v);
        }
    };
    C* c = t.c;
    const std::int64_t c_step = t.c_step;
    if (t.accumulate) {
        for_sums([&](V value, int r, int v) FASTNORM_INLINE_LAMBDA {
            return load_tile<C, Partial>(c + r * c_step + v * lanes, v, cols) + value;
        });
    }
    if (t.col_bias) {
        V bias[vectors];
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v) bias[v] = load_tile<C, Partial>(t.col_bias + v * lanes, v, cols);
        for_sums([&](V value, int, int v) FASTNORM_INLINE_LAMBDA { return value + bias[v]; });
    }
    if (t.row_bias) {
        for_sums([&](V value, int r, int) FASTNORM_INLINE_LAMBDA { return value + broadcast<V>(t.row_bias[r]); });
    }
    if (t.relu) {
        for_sums([&](V value, int, int) FASTNORM_INLINE_LAMBDA { return max(broadcast<V>(0), value); });
    }
    FASTNORM_UNROLL_REGISTERS
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL_REGISTERS
        for (int v = 0; v < vectors; ++v) {
            C* target = c + r * c_step + v * lanes;
            if constexpr (Partial) {
                store_partial(target, sum[r][v], lanes_left<C>(cols, v));
            } else {
                store(target, sum[r][v]);
            }
        }
    }
}

FASTNORM_TARGET_END
