// The two products that attention is made of, over a tile: `lane_count<V>` rows side by side, one in each
// lane.
//
//   products:    out[j]  = sum over c of tile[c] * rows[j][c]                c ascending
//   accumulate:  sums[c] = sums[c] * decay + sum over j of weights[j] * rows[j][c]    j ascending
//
// tile, out, weights and sums are arrays of V; rows are plain numbers, each met by all lanes at once, so
// neither needs packing or transposing. Every lane is one chain of fused multiply-adds in the order of c (of
// j), whatever the number of lanes and of chains that run beside it: how many a register takes can be chosen
// freely.
#pragma once

#include <cstring>
#include <limits>

#include "kernels/loops/elements.h"
#include "simd/rows.h"
#include "simd/transpose.h"
#include "tasks/attention.h"

FASTNORM_TARGET_BEGIN

// Some rows as contiguous numbers of the compute type.
template <class C>
struct RowBlock {
    const C* data;
    std::int64_t step;
    FASTNORM_INLINE const C* row(std::int64_t i) const { return data + i * step; }
};

// Vectors of the lanes, one for each row that a tile meets, `step` numbers apart.
template <class C>
struct LaneRows {
    C* data;
    std::int64_t step;
    FASTNORM_INLINE C* row(std::int64_t j) const { return data + j * step; }
    FASTNORM_INLINE LaneRows from(std::int64_t first) const { return {row(first), step}; }
};

// Chains that run at once: with a tile of two 64-byte registers 16 of 32 registers hold sums; with registers
// of 32 bytes 8 of 16.
constexpr int chains = native<float> == 16 ? 8 : native<float> == 8 ? 2 : 1;

template <int K, class V, class C>
FASTNORM_INLINE void products_of(
    const C* tile, RowBlock<C> rows, std::int64_t j, std::int64_t cols, LaneRows<C> out
) {
    constexpr int lanes = lane_count<V>;
    V sums[K];
    const C* row[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) sums[k] = broadcast<V>(0), row[k] = rows.row(j + k);
    for (std::int64_t c = 0; c < cols; ++c) {
        const V a = load<V>(tile + c * lanes);
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) sums[k] = mul_add(a, broadcast<V>(row[k][c]), sums[k]);
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) store(out.row(j + k), sums[k]);
}

template <class V, int K = chains, class C>
void products(
    const C* tile, RowBlock<C> rows, std::int64_t count, std::int64_t cols, LaneRows<C> out,
    std::int64_t j = 0
) {
    for (; j + K <= count; j += K) products_of<K, V>(tile, rows, j, cols, out);
    if constexpr (K > 1) products<V, K / 2>(tile, rows, count, cols, out, j);
}

template <int K, class V, class C>
FASTNORM_INLINE void accumulate_of(
    LaneRows<C> weights, RowBlock<C> rows, std::int64_t count, std::int64_t c, V decay, C* sums
) {
    constexpr int lanes = lane_count<V>;
    V parts[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) parts[k] = broadcast<V>(0);
    for (std::int64_t j = 0; j < count; ++j) {
        const V w = load<V>(weights.row(j));
        const C* row = rows.row(j) + c;
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) parts[k] = mul_add(w, broadcast<V>(row[k]), parts[k]);
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) {
        C* sum = sums + (c + k) * lanes;
        store(sum, mul_add(load<V>(sum), decay, parts[k]));
    }
}

template <class V, int K = chains, class C>
void accumulate(
    LaneRows<C> weights, RowBlock<C> rows, std::int64_t count, std::int64_t cols, V decay, C* sums,
    std::int64_t c = 0
) {
    for (; c + K <= cols; c += K) accumulate_of<K, V>(weights, rows, count, c, decay, sums);
    if constexpr (K > 1) accumulate<V, K / 2>(weights, rows, count, cols, decay, sums, c);
}

// ---- between arrays and tiles -----------------------------------------------------------------------------

// One head of an operand.
template <class T>
struct Head {
    using C = compute_t<T>;
    HeadMatrix matrix;
    std::int64_t cols;
    C* packed;  // space for a block of rows

    FASTNORM_INLINE Head(
        const Attention& task, const HeadMatrix& operand, std::int64_t columns, std::int64_t head
    )
        : matrix(operand), cols(columns), packed(nullptr) {
        matrix.data += strided_offset(head, task.lead_axes, task.lead_extent, operand.lead_stride);
    }
    FASTNORM_INLINE char* at(std::int64_t row, std::int64_t col) const {
        return matrix.data + row * matrix.row_stride + col * matrix.col_stride;
    }

    // Takes space for a block of rows from `scratch` and moves it on.
    FASTNORM_INLINE Head& take_space(char*& scratch, std::int64_t rows = attention_block) {
        packed = reinterpret_cast<C*>(scratch);
        scratch += rows * packed_step() * std::int64_t(sizeof(C));
        return *this;
    }
    // Never a power of two, which would put a column into a few sets of the first-level cache.
    FASTNORM_INLINE std::int64_t packed_step() const { return (cols / 8 + 1) * 8; }

    FASTNORM_INLINE bool lies_along_columns() const {
        const auto distance = [](std::int64_t step) { return step < 0 ? -step : step; };
        return distance(matrix.row_stride) < distance(matrix.col_stride);
    }
    // Calls body(row, column) for so many rows and the columns from one on, along the axis whose steps in
    // memory are smaller: attention of 8 heads of 128x64 in Fortran order spent three quarters of its time on
    // pages that rows touched once.
    template <class Body>
    FASTNORM_INLINE void for_elements(std::int64_t count, std::int64_t begin, Body body) const {
        if (lies_along_columns()) {
            for (std::int64_t c = begin; c < cols; ++c) {
                for (std::int64_t i = 0; i < count; ++i) body(i, c);
            }
        } else {
            for (std::int64_t i = 0; i < count; ++i) {
                for (std::int64_t c = begin; c < cols; ++c) body(i, c);
            }
        }
    }

    // Rows [first, first + count), count at most attention_block.
    RowBlock<C> rows(std::int64_t first, std::int64_t count) const {
        if (sizeof(T) == sizeof(C) && matrix.contiguous) {
            return {reinterpret_cast<const C*>(at(first, 0)), matrix.row_stride / std::int64_t(sizeof(C))};
        }
        return packed_rows(first, count);
    }
    RowBlock<C> packed_rows(std::int64_t first, std::int64_t count) const {
        for (std::int64_t i = 0; i < count && matrix.contiguous; ++i) {
            C* row = packed + i * packed_step();
            const T* source = reinterpret_cast<const T*>(at(first + i, 0));
            for_columns<row_lanes>(0, cols, [&](std::int64_t c, auto step) FASTNORM_INLINE_LAMBDA {
                store_columns(row + c, load_columns<Vec<C, row_lanes>>(source + c, step), step);
            });
        }
        const std::int64_t step = packed_step();
        if (!matrix.contiguous && sizeof(T) == sizeof(C) && !lies_along_columns()) {
            for (std::int64_t i = 0; i < count; ++i) {
                char* const row = reinterpret_cast<char*>(packed + i * step);
                gather(at(first + i, 0), matrix.col_stride, int(sizeof(T)), row, cols);
            }
        } else if (!matrix.contiguous) {
            for_elements(count, 0, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
                packed[i * step + c] = read_widened<T>(at(first + i, c));
            });
        }
        return {packed, step};
    }

    // Rows [first, first + count) as a tile; lanes without a row hold zeros. Columns that are neighbours are
    // turned in registers: one by one, the elements of a tile and its result took a quarter of the time of
    // attention over 128 slots of 32.
    FASTNORM_OUTLINE void read_tile(
        std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    ) const {
        const std::int64_t turned = turn_squares<true>(first, count, tile, lanes);
        for_elements(count, turned, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
            tile[c * lanes + i] = read_widened<T>(at(first + i, c));
        });
        for (std::int64_t c = turned; c < cols && count < lanes; ++c) {
            for (std::int64_t i = count; i < lanes; ++i) tile[c * lanes + i] = 0;
        }
    }
    FASTNORM_OUTLINE void write_tile(
        std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    ) const {
        const std::int64_t turned = turn_squares<false>(first, count, tile, lanes);
        for_elements(count, turned, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
            write_narrowed<T>(at(first + i, c), tile[c * lanes + i]);
        });
    }

private:
    // Between rows that lie as neighbours and a tile: what fills squares of registers. Returns the columns
    // done.
    template <bool reads>
    FASTNORM_INLINE std::int64_t turn_squares(
        std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    ) const {
        constexpr int side = native<C>;
        using Row = Vec<C, side>;
        if (!matrix.contiguous) return 0;
        T none[side] = {};
        const std::int64_t whole = cols / side * side;
        for (std::int64_t i = 0; i < (reads ? lanes : count); i += side) {
            for (std::int64_t c = 0; c < whole; c += side) {
                T* row[side];
                for (int k = 0; k < side; ++k)
                    row[k] = i + k < count ? reinterpret_cast<T*>(at(first + i + k, 0)) + c : none;
                C* const columns = tile + c * lanes + i;
                Row square[side];
                FASTNORM_UNROLL_REGISTERS
                for (int k = 0; k < side; ++k)
                    square[k] = reads ? load_row<Row>(row[k]) : load<Row>(columns + k * lanes);
                transpose(square);
                FASTNORM_UNROLL_REGISTERS
                for (int k = 0; k < side; ++k) {
                    if constexpr (reads) {
                        store(columns + k * lanes, square[k]);
                    } else {
                        store(row[k], as_stored<T>(square[k]));
                    }
                }
            }
        }
        return whole;
    }
};

// ---- the mask ---------------------------------------------------------------------------------------------

template <class C>
constexpr C minus_infinity = -std::numeric_limits<C>::infinity();

// The score scaled, with what the mask adds; -inf where the mask says so, whatever the score.
template <class V>
FASTNORM_INLINE V masked(V product, V scale, V bias) {
    const V excluded = broadcast<V>(minus_infinity<element_t<V>>);
    return select(bias == excluded, excluded, mul_add(product, scale, bias));
}

// The mask of a head as what it adds to the scores of `lanes` rows in a tile met by a block of rows of the
// other side. A mask that is broadcast along either of them is read once.
template <class C>
struct TileMask {
    MaskKind kind;
    const char* data;
    std::int64_t lane_stride, row_stride;
    std::int64_t lanes;
    C* bias;

    FASTNORM_INLINE C value(const char* address) const {
        if (kind == MaskKind::boolean) return *address ? C(0) : minus_infinity<C>;
        C value;
        std::memcpy(&value, address, sizeof value);
        return value;
    }
    void read(std::int64_t first, std::int64_t count, std::int64_t first_row, std::int64_t rows) {
        if (kind == MaskKind::none) return;
        const char* origin = data + first * lane_stride + first_row * row_stride;
        const std::int64_t across = lane_stride == 0 ? 1 : count, along = row_stride == 0 ? 1 : rows;
        for (std::int64_t j = 0; j < along; ++j) {
            for (std::int64_t i = 0; i < across; ++i) {
                bias[j * lanes + i] = value(origin + i * lane_stride + j * row_stride);
            }
        }
    }
    // The scores of the tile with row j of the block, from their products.
    template <class V>
    FASTNORM_INLINE V score(V product, V scale, std::int64_t j) const {
        if (kind == MaskKind::none) return product * scale;
        const C* row = bias + (row_stride == 0 ? 0 : j * lanes);
        return masked(product, scale, lane_stride == 0 ? broadcast<V>(*row) : load<V>(row));
    }
};

// ---- loops ------------------------------------------------------------------------------------------------

// Calls body(first, count) for the blocks of `rows` rows.
template <class Body>
FASTNORM_INLINE void for_blocks(std::int64_t rows, Body body) {
    for (std::int64_t first = 0; first < rows; first += attention_block)
        body(first, smaller(attention_block, rows - first));
}

// Calls body(TileOf<V>, head, first, count) for the tiles [begin, end) of `rows` rows a head; V has half the
// lanes where they hold a tile.
template <class Vector>
struct TileOf {
    using V = Vector;
};
template <class T, class Body>
FASTNORM_INLINE void for_tiles(std::int64_t rows, std::int64_t begin, std::int64_t end, Body body) {
    using C = compute_t<T>;
    constexpr int tile = int(tile_bytes / std::int64_t(sizeof(C)));
    const std::int64_t tiles = tiles_of(rows, tile);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit % tiles * tile, count = smaller(tile, rows - first);
        if (2 * count <= tile) {
            body(TileOf<Vec<C, tile / 2>>{}, unit / tiles, first, count);
        } else {
            body(TileOf<Vec<C, tile>>{}, unit / tiles, first, count);
        }
    }
}

FASTNORM_TARGET_END
