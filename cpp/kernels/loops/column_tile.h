// Rows of few columns, sixteen at a time, held column by column: lane i of vector j is element j of row i.
//
// A row of three numbers fills three lanes of sixteen, and its sums are a chain of additions; sixteen rows
// fill all lanes, and what is done to a row once is done to sixteen at once. A kernel that does to each lane
// what its loop over rows does to a row, in the same order, makes the same bits.
#pragma once

#include "kernels/loops/elements.h"
#include "simd/rows.h"
#include "simd/transpose.h"

namespace fastnorm {
namespace FASTNORM_TARGET {

// The longest rows that are taken so: twice the lanes of a row, beyond which there are more sums. layer_norm
// of contiguous float32 rows of 32, one Zen 4 core: 49 ns a row one by one, 22 so.
constexpr std::int64_t few_columns = 32;

// One operand of float or half elements whose rows have few columns, and how they lie.
struct FewColumns {
    const Rows* shape;
    const Operand* operand;
    Element element;
    bool lines;                        // columns are lines: rows along the last outer axis are neighbours
    std::int64_t offset[few_columns];  // of the columns, in bytes
};

// A band is tiles one after the other, as floats in memory of its own, or where they are in the array: bytes
// between the columns of a tile, and between tiles.
struct Band {
    char* first;
    std::int64_t step, next;
    bool moved;
};
// What a band has room for, and what is read past it of rows that are shorter than a group of columns.
constexpr std::int64_t band_room = few_columns * tile_rows + tile_rows;

// For all families, in the object of copies: see kernels/copies/move_columns.h. The band of rows, whole tiles
// of it (rows_of_band), to be read, in `room` where they have to be moved; and rows that have been moved, to
// be written.
Band band_to_read(const FewColumns& rows, std::int64_t first, std::int64_t count, float* room);
void write_band(const FewColumns& rows, std::int64_t first, std::int64_t count, const float* columns);

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm

FASTNORM_TARGET_BEGIN

template <class T>
constexpr Element element_of = Element::float32;
template <>
constexpr Element element_of<float16> = Element::float16;
template <>
constexpr Element element_of<bfloat16> = Element::bfloat16;

FASTNORM_INLINE char* address_of_row(const FewColumns& rows, std::int64_t row) {
    const Rows& shape = *rows.shape;
    return rows.operand->data +
           strided_offset(row, shape.outer_axes, shape.outer_extent, rows.operand->outer_stride);
}

// Rows longer than this are moved to be read: their columns may lie in one set of the first-level cache, and
// are read several times. layer_norm over 16 planes of 32 KiB, one Zen 4 core: 14 ns a row in place, 11
// moved.
constexpr std::int64_t columns_in_place = 4;

FASTNORM_INLINE bool is_in_place(const FewColumns& rows) {
    return rows.lines && rows.element == Element::float32 && rows.shape->inner_axes == 1;
}
FASTNORM_INLINE Band band_in_place(const FewColumns& rows, std::int64_t first) {
    constexpr std::int64_t line = tile_rows * std::int64_t(sizeof(float));
    return {address_of_row(rows, first), rows.operand->inner_stride[0], line, false};
}
FASTNORM_INLINE Band band_in_room(const FewColumns& rows, float* room) {
    constexpr std::int64_t line = tile_rows * std::int64_t(sizeof(float));
    return {reinterpret_cast<char*>(room), line, line * rows.shape->cols, true};
}

// Says how an operand lies; false where its rows are to be taken one by one.
FASTNORM_INLINE bool describe_columns(
    const Rows& shape, const Operand& operand, Element element, FewColumns& rows
) {
    if (is_compact) return false;
    rows.shape = &shape;
    rows.operand = &operand;
    rows.element = element;
    const std::int64_t step = operand.outer_stride[shape.outer_axes - 1], size = item_size(element);
    std::uintptr_t places = reinterpret_cast<std::uintptr_t>(operand.data);
    for (int axis = 0; axis < shape.outer_axes; ++axis) places |= std::uintptr_t(operand.outer_stride[axis]);
    for (std::int64_t j = 0; j < shape.cols; ++j) {
        rows.offset[j] = strided_offset(j, shape.inner_axes, shape.inner_extent, operand.inner_stride);
        places |= std::uintptr_t(rows.offset[j]);
    }
    rows.lines = step == size;
    const bool dense = step == shape.cols * size;
    const bool transposes =
        operand.contiguous && (dense || (size == sizeof(float) && shape.cols >= column_group<float>));
    return (rows.lines || transposes) && std::int64_t(places) % size == 0;
}

// Rows from `first` on, of `count`, that are whole tiles of a band, and how many there are to the end of the
// last outer axis.
FASTNORM_INLINE std::int64_t rows_of_band(
    const Rows& shape, std::int64_t first, std::int64_t count, std::int64_t& run
) {
    const std::int64_t extent = shape.outer_extent[shape.outer_axes - 1];
    run = smaller(count, extent - first % extent);
    return smaller(run / tile_rows, few_columns / shape.cols) * tile_rows;
}

// The band of such rows, to be written.
FASTNORM_INLINE Band band_to_write(const FewColumns& rows, std::int64_t first, float* room) {
    return is_in_place(rows) ? band_in_place(rows, first) : band_in_room(rows, room);
}

using TileFloats = Vec<float, tile_rows>;
using TileDoubles = Vec<double, tile_rows>;

// The columns of a tile.
class TileColumns {
public:
    // The tile from row i of the band on.
    FASTNORM_INLINE TileColumns(const Band& band, std::int64_t i)
        : first_(band.first + i / tile_rows * band.next), step_(band.step) {}
    FASTNORM_INLINE TileFloats at(std::int64_t j) const {
        return load<TileFloats>(reinterpret_cast<const float*>(first_ + j * step_));
    }
    FASTNORM_INLINE void put(std::int64_t j, TileFloats column) const {
        store(reinterpret_cast<float*>(first_ + j * step_), column);
    }

private:
    char* first_;
    std::int64_t step_;
};

// results.put(j, column(j)) of all columns, a few at a time: loads come before stores, which they would wait
// for where both lie at the same place of their pages, as the planes of an image may.
template <class Column>
FASTNORM_INLINE void put_columns(std::int64_t cols, TileColumns results, Column column) {
    constexpr int together = 4;
    for (std::int64_t first = 0; first < cols; first += together) {
        TileFloats some[together];
        FASTNORM_UNROLL
        for (int k = 0; k < together; ++k) {
            if (first + k < cols) some[k] = column(first + k);
        }
        FASTNORM_UNROLL
        for (int k = 0; k < together; ++k) {
            if (first + k < cols) results.put(first + k, some[k]);
        }
    }
}

// K vectors that are added lane by lane, and sums that begin with their first terms.
struct FirstTerm {
    static constexpr bool value = true;
};
struct NextTerm {
    static constexpr bool value = false;
};
template <class V, int K>
struct Several {
    V of[K];

    FASTNORM_INLINE void add(const Several& other) {
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) of[k] = of[k] + other.of[k];
    }
    template <class Order>
    FASTNORM_INLINE void add(int k, V term, Order) {
        of[k] = Order::value ? term : of[k] + term;
    }
    template <class Order>
    FASTNORM_INLINE void add_product(int k, V a, V b, Order) {
        of[k] = Order::value ? a * b : mul_add(a, b, of[k]);
    }
};

// sum(v) of vectors along rows, for rows that lie across lanes: terms(l) is what lane l of v would be, of
// which `count` are not 0. Sums along rows begin with +0, so that what cancels or vanishes is +0: added in
// the end, it does the same.
template <class V, int K, class Terms>
FASTNORM_INLINE Several<V, K> fold_lanes(std::int64_t count, Terms terms) {
    Several<V, K> quarter[row_lanes / 4], half, pair, total;
    for (int l = 0; l < row_lanes / 4 && l < count; ++l) {
        for (int m = 0; m < 8 && l + m < count; m += 4) {
            for (int g = 0; g < 16 && l + m + g < count; g += 8) {
                const Several<V, K> lane = terms(l + m + g);
                if (g == 0) {
                    pair = lane;
                } else {
                    pair.add(lane);
                }
            }
            if (m == 0) {
                half = pair;
            } else {
                half.add(pair);
            }
        }
        quarter[l] = half;
    }
    total = quarter[0];
    if (count > 2) total.add(quarter[2]);
    if (count > 3) quarter[1].add(quarter[3]);
    if (count > 1) total.add(quarter[1]);
    for (int k = 0; k < K; ++k) total.of[k] = total.of[k] + broadcast<V>(0);
    return total;
}
// The same of up to four, without a detour through memory.
template <class V, int K, class Terms>
FASTNORM_INLINE Several<V, K> fold_four_lanes(std::int64_t count, Terms terms) {
    Several<V, K> even = terms(0);
    if (count > 2) even.add(terms(2));
    if (count > 1) {
        Several<V, K> odd = terms(1);
        if (count > 3) odd.add(terms(3));
        even.add(odd);
    }
    for (int k = 0; k < K; ++k) even.of[k] = even.of[k] + broadcast<V>(0);
    return even;
}

FASTNORM_TARGET_END
