// The innermost loops of every matrix product: C = A B or C = C + A B over one block of k, a strip of rows at
// a time.
//
// The sum of a block is one chain of multiply-adds over k in ascending order from zero on, whatever the tile,
// its position and the width of the registers, so every element has the same bits on all targets with fused
// multiply-add.
#pragma once

#include "kernels/activations/relu.h"
#include "simd/rows.h"
#include "simd/transpose.h"
#include "tasks/linear.h"

FASTNORM_TARGET_BEGIN

// With 32 registers 6 x 4 sums, the four vectors of B and a broadcast element of A; with 16 registers 6 x 2.
// Few addresses and instructions count: on an Ice Lake of 179 GFLOP/s a tile of 6 x 4 reaches 174 with B in
// the second-level cache and A in place, where 14 x 2 reach 165 from copies of A and 154 with A in place, and
// 8 x 3 164.
constexpr int tile_height = 6;
constexpr int tile_vectors = register_count == 32 ? 4 : 2;

// Copies of B are panels of this many columns, one after the other, the last as narrow as whole registers
// allow.
template <class C>
constexpr std::int64_t panel_cols = tile_vectors * native<C>;

// Row k of B is fetched this many rows ahead: where B lies in place, no prefetcher of the processor follows
// its rows.
constexpr std::int64_t fetch_ahead = 8;

// A packed weight that comes from memory for few rows takes as long to read as to multiply, and the first
// strip would wait for it while the others do not read at all. So the first two strips fetch the next block
// into the second-level cache meanwhile, a half each, or the only one all of it. Packed weights of 42 MB,
// float32, Zen 4, one core: 4 rows 3.2 ms before, 2.6 so, 12 rows 3.7 and 3.1, 16 rows 4.6 and 3.9, 64 rows
// 14.5 and 13.4.
constexpr int fetching_strips = 2;

// Rows of A with a block of B: element (i, k) of A at a + i * a_row + k * a_k, in elements.
template <class C>
struct Strip {
    const C* a;
    std::int64_t a_row, a_k;
    const C* b;
    const void* narrow_b;  // instead of b: rows of a narrower type
    std::int64_t b_step;   // from row to row of B; 0: in panels
    const C* b_edge;  // with b_step: the columns beyond the last whole register, padded to one, one after the
                      // other; with narrow_b those beyond the last whole panel, as one of so many registers
    const C* next;    // the block of panels that is fetched meanwhile, in so many parts; or null
    int parts, part;
    std::int64_t depth;
    C* c;
    std::int64_t c_step;
    std::int64_t cols;
    bool accumulate;
    const C* relu_bias;  // or null. With it C = relu(A B + bias), of one block and whole registers: they are
                         // stored once instead of twice. A training step of 1024 rows of 64-256-1 takes 713
                         // us so and 724 with a pass of its own (float32, Zen 4, one core).
};

// Out of line, as it needs all registers: inlined, addresses would be spilled inside the loop. Elements S of
// B are widened as they are read, which hides behind the multiply-adds of two rows and more: float16 and
// bfloat16 at 784x128, 2 to 24 rows, took 2.6 to 1.2 times as long as float32 where they were widened first,
// 0.9 to 1.1 times so (Zen 4, one core).
template <class C, int Rows, int Vectors, class S>
FASTNORM_OUTLINE void multiply_tile(
    const Strip<C>& s, const S* b, std::int64_t b_step, const S* ahead, std::int64_t ahead_step, C* c,
    std::int64_t c_step, bool accumulate
) {
    constexpr int lanes = native<C>, line = 64 / int(sizeof(S));
    using V = Vec<C, lanes>;
    V sum[Rows][Vectors];
    FASTNORM_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            sum[r][v] = broadcast<V>(0);
            // For the next tile: memory takes longer than few terms. 32 terms with C of 98 MB, Zen 4, one
            // core: 82 GFLOP/s with that of this tile and 95 so.
            FASTNORM_PREFETCH(c + r * c_step + (Vectors + v) * lanes, 1, 3);
        }
    }
    const std::int64_t a_row = s.a_row, a_k = s.a_k;
    const bool far = s.next != nullptr;
    const C* upper_a = s.a;
    const C* lower_a = Rows > 3 ? s.a + 3 * a_row : s.a;  // one address for three rows
    for (std::int64_t k = s.depth; k > 0; --k) {
        V b_k[Vectors];
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) b_k[v] = load_row<V>(b + v * lanes);
        FASTNORM_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const V a_k_r = broadcast<V>(r < 3 ? upper_a[r * a_row] : lower_a[(r - 3) * a_row]);
            FASTNORM_UNROLL
            for (int v = 0; v < Vectors; ++v) sum[r][v] = mul_add(a_k_r, b_k[v], sum[r][v]);
        }
        upper_a += a_k;
        lower_a += a_k;
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            if (v * lanes % line != 0 && lanes < line) continue;
            if (far) {
                FASTNORM_PREFETCH(ahead + v * lanes, 0, 2);
            } else {
                FASTNORM_PREFETCH(ahead + v * lanes, 0, 3);
            }
        }
        b += b_step;
        ahead += ahead_step;
    }
    if (s.relu_bias) {
        const C* const bias = s.relu_bias + (c - s.c);
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            const V bias_v = load<V>(bias + v * lanes);
            FASTNORM_UNROLL
            for (int r = 0; r < Rows; ++r) sum[r][v] = relu(sum[r][v] + bias_v);
        }
    }
    FASTNORM_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            C* target = c + r * c_step + v * lanes;
            store(target, accumulate ? load<V>(target) + sum[r][v] : sum[r][v]);
        }
    }
}

// The columns beyond the last whole register: their tile is summed apart and copied or added to C.
template <class C, int Rows>
void multiply_edge(const Strip<C>& s, const C* b, std::int64_t b_step, C* c, std::int64_t cols) {
    using V = Vec<C, native<C>>;
    C tile[Rows * native<C>];
    multiply_tile<C, Rows, 1>(s, b, b_step, b + fetch_ahead * b_step, b_step, tile, native<C>, false);
    const Partial part{int(cols)};
    for (int r = 0; r < Rows; ++r) {
        C* target = c + r * s.c_step;
        const V sum = load<V>(tile + r * native<C>);
        store_columns(
            target, s.accumulate ? load_columns<V>(static_cast<const C*>(target), part) + sum : sum, part
        );
    }
}

template <class C, int Rows>
void multiply_rows(const Strip<C>& s) {
    constexpr std::int64_t lanes = native<C>, width = panel_cols<C>;
    const std::int64_t whole = s.cols / lanes * lanes, padded = padded_cols(s.cols, sizeof(C));
    for (std::int64_t panel = 0; panel < s.cols; panel += width) {
        const C* b = s.b + (s.b_step == 0 ? panel * s.depth : panel);
        const std::int64_t step = s.b_step == 0 ? smaller(width, padded - panel) : s.b_step;
        C* c = s.c + panel;
        const C* ahead = b + fetch_ahead * step;
        std::int64_t ahead_step = step;
        if (s.next) {
            ahead = s.next + panel * s.depth + s.part * (s.depth * step / s.parts);
            ahead_step = step / s.parts;
        }
        if (panel + width <= whole) {
            multiply_tile<C, Rows, tile_vectors>(s, b, step, ahead, ahead_step, c, s.c_step, s.accumulate);
            continue;
        }
        std::int64_t j = 0;
        if (tile_vectors > 2 && panel + 2 * lanes <= whole) {
            multiply_tile<C, Rows, 2>(s, b, step, ahead, ahead_step, c, s.c_step, s.accumulate);
            j = 2 * lanes;
        }
        if (panel + j + lanes <= whole) {
            multiply_tile<C, Rows, 1>(s, b + j, step, ahead + j, ahead_step, c + j, s.c_step, s.accumulate);
            j += lanes;
        }
        if (panel + j < s.cols) {
            const bool apart = s.b_step != 0;
            multiply_edge<C, Rows>(
                s, apart ? s.b_edge : b + j, apart ? lanes : step, c + j, s.cols - panel - j
            );
        }
    }
}

// `rows` rows of A, at most tile_height.
template <class C>
void multiply_strip(const Strip<C>& s, std::int64_t rows) {
    switch (rows) {
        case 6:
            return multiply_rows<C, 6>(s);
        case 5:
            return multiply_rows<C, 5>(s);
        case 4:
            return multiply_rows<C, 4>(s);
        case 3:
            return multiply_rows<C, 3>(s);
        case 2:
            return multiply_rows<C, 2>(s);
        default:
            return multiply_rows<C, 1>(s);
    }
}

// The same with narrow_b, whose elements are of type S.
template <class C>
using MultiplyStrip = void (*)(const Strip<C>& s, std::int64_t rows);
template <class S, class C>
void multiply_narrow_strip(const Strip<C>& s, std::int64_t rows) {
    constexpr std::int64_t width = panel_cols<C>;
    constexpr decltype(&multiply_tile<C, 1, tile_vectors, S>) tiles[tile_height] = {
        multiply_tile<C, 1, tile_vectors, S>, multiply_tile<C, 2, tile_vectors, S>,
        multiply_tile<C, 3, tile_vectors, S>, multiply_tile<C, 4, tile_vectors, S>,
        multiply_tile<C, 5, tile_vectors, S>, multiply_tile<C, 6, tile_vectors, S>
    };
    const auto tile = tiles[rows - 1];
    const std::int64_t step = s.b_step;
    std::int64_t col = 0;
    for (; col + width <= s.cols; col += width) {
        const S* const b = static_cast<const S*>(s.narrow_b) + col;
        tile(s, b, step, b + fetch_ahead * step, step, s.c + col, s.c_step, s.accumulate);
    }
    if (col == s.cols) return;
    Strip<C> rest = s;
    rest.b = s.b_edge, rest.b_step = 0;
    rest.c += col, rest.cols -= col;
    multiply_strip(rest, rows);
}

// How many of the rows that are left make the next strip: the last two are about as high, since a low one
// waits for B.
constexpr std::int64_t strip_height(std::int64_t left) {
    return left <= tile_height ? left : left < 2 * tile_height ? (left + 1) / 2 : tile_height;
}

// `rows` rows of A with all k of B, a block of it after the other: panels of each block where b_step is 0;
// one block only with narrow_b. After each strip finish(first row, rows) is called.
template <class C, class Finish>
FASTNORM_INLINE void multiply(
    const Strip<C>& all, std::int64_t rows, Finish finish, MultiplyStrip<C> strip_of = multiply_strip<C>
) {
    const std::int64_t b_step = all.b_step == 0 ? all.cols : all.b_step;
    std::int64_t height;
    int part = 0;
    for (std::int64_t i = 0; i < rows; i += height) {
        height = strip_height(rows - i);
        Strip<C> strip = all;
        strip.parts = rows > tile_height ? fetching_strips : 1;
        strip.part = part++;
        if (strip.part >= strip.parts) strip.next = nullptr;
        strip.a += i * all.a_row;
        strip.c += i * all.c_step;
        for (std::int64_t k = 0;;) {
            strip.depth = smaller(depth_block, all.depth - k);
            strip_of(strip, height);
            k += depth_block;
            if (k >= all.depth) break;
            strip.a += depth_block * all.a_k;
            strip.b += depth_block * b_step;
            strip.accumulate = true;
        }
        finish(i, height);
    }
}

FASTNORM_TARGET_END
