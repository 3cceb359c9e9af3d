// Products of blocks that lie in the caches: C = A B or C = C + A B, an element being one chain of multiply-adds over k
// in ascending order.
//
// B and C have rows of whole registers, so there are no partial columns; A has any strides. B is either in panels, each
// of panel_cols columns and all k (mlp_pack), or in plain rows.
#pragma once

#include "simd/rows.h"
#include "tasks/mlp.h"

FASTNORM_TARGET_BEGIN

// 32 registers hold 6 x 4 accumulators, the four vectors of B and the broadcast element of A; 16 hold 6 x 2.
constexpr int mlp_tile_rows = 6;
constexpr int mlp_tile_vectors = native<float> == 16 ? 4 : 2;

// Panels and padding are counted in the vectors of 64 bytes that pad the rows, whatever the registers.
template <class C>
constexpr std::int64_t mlp_panel_cols = 4 * (64 / std::int64_t(sizeof(C)));

template <class C>
struct MlpProduct {
    const C* a;
    std::int64_t a_row, a_k;
    const C* b;
    std::int64_t b_step;  // 0: in panels
    C* c;
    std::int64_t c_step;
    std::int64_t rows, depth, cols;  // cols padded
    bool accumulate;
};

template <class C, int Rows, int Vectors>
FASTNORM_INLINE void mlp_tile(
    const C* a, std::int64_t a_row, std::int64_t a_k, const C* b, std::int64_t b_step, C* c, std::int64_t c_step,
    std::int64_t depth, bool accumulate
) {
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    V sum[Rows][Vectors];
    FASTNORM_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v)
            sum[r][v] = accumulate ? load<V>(c + r * c_step + v * lanes) : broadcast<V>(C(0));
    }
    for (std::int64_t k = 0; k < depth; ++k) {
        V b_k[Vectors];
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) b_k[v] = load<V>(b + v * lanes);
        FASTNORM_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const V a_k_r = broadcast<V>(a[r * a_row]);
            FASTNORM_UNROLL
            for (int v = 0; v < Vectors; ++v) sum[r][v] = mul_add(a_k_r, b_k[v], sum[r][v]);
        }
        a += a_k;
        b += b_step;
    }
    FASTNORM_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTNORM_UNROLL
        for (int v = 0; v < Vectors; ++v) store(c + r * c_step + v * lanes, sum[r][v]);
    }
}

template <class C, int Vectors>
void mlp_columns(const MlpProduct<C>& p, const C* b, std::int64_t b_step, std::int64_t j) {
    std::int64_t i = 0;
    for (; i + mlp_tile_rows <= p.rows; i += mlp_tile_rows)
        mlp_tile<C, mlp_tile_rows, Vectors>(
            p.a + i * p.a_row, p.a_row, p.a_k, b, b_step, p.c + i * p.c_step + j, p.c_step, p.depth, p.accumulate
        );
    for (; i + 2 <= p.rows; i += 2)
        mlp_tile<C, 2, Vectors>(
            p.a + i * p.a_row, p.a_row, p.a_k, b, b_step, p.c + i * p.c_step + j, p.c_step, p.depth, p.accumulate
        );
    if (i < p.rows)
        mlp_tile<C, 1, Vectors>(
            p.a + i * p.a_row, p.a_row, p.a_k, b, b_step, p.c + i * p.c_step + j, p.c_step, p.depth, p.accumulate
        );
}

template <class C>
void mlp_multiply(const MlpProduct<C>& p) {
    constexpr std::int64_t lanes = native<C>;
    for (std::int64_t panel = 0; panel < p.cols; panel += mlp_panel_cols<C>) {
        const std::int64_t width = smaller(mlp_panel_cols<C>, p.cols - panel);
        const C* b = p.b + (p.b_step == 0 ? panel * p.depth : panel);
        const std::int64_t step = p.b_step == 0 ? width : p.b_step;
        std::int64_t j = 0;
        for (; j + mlp_tile_vectors * lanes <= width; j += mlp_tile_vectors * lanes)
            mlp_columns<C, mlp_tile_vectors>(p, b + j, step, panel + j);
        for (; j < width; j += lanes) mlp_columns<C, 1>(p, b + j, step, panel + j);
    }
}

FASTNORM_TARGET_END
