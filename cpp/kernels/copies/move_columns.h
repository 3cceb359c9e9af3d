// Rows of few columns moved to columns and back, for the tiles of all families (loops/column_tile.h): once
// for a target, in the object of copies.
#pragma once

#include "kernels/loops/column_tile.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

// Contiguous rows are transposed in registers, a group of columns at a time, the last group overlapping the
// one before. Of rows shorter than a group the first columns of the next row are moved too, for which they
// are to have room past their end.
FASTNORM_INLINE std::int64_t start_of_group(std::int64_t j, std::int64_t cols) {
    return cols < column_group<float> ? 0 : smaller(j, cols - column_group<float>);
}
[[maybe_unused]] FASTNORM_OUTLINE void transpose_rows(
    const float* rows, std::int64_t step, std::int64_t cols, float* columns
) {
    for (std::int64_t next = 0; next < cols; next += column_group<float>) {
        const std::int64_t j = start_of_group(next, cols);
        TileFloats some[column_group<float>];
        load_column_group([=](int i) FASTNORM_INLINE_LAMBDA { return rows + i * step + j; }, some);
        FASTNORM_UNROLL
        for (int k = 0; k < column_group<float>; ++k) {
            if (j + k < cols) store(columns + (j + k) * tile_rows, some[k]);
        }
    }
}
[[maybe_unused]] FASTNORM_OUTLINE void transpose_columns(
    const float* columns, std::int64_t cols, float* rows, std::int64_t step
) {
    for (std::int64_t next = 0; next < cols; next += column_group<float>) {
        const std::int64_t start = start_of_group(next, cols);
        TileFloats some[column_group<float>];
        FASTNORM_UNROLL
        for (int k = 0; k < column_group<float>; ++k) {
            const std::int64_t j = start + k;
            some[k] = load<TileFloats>(columns + (j < cols ? j * tile_rows : (j - cols) * tile_rows + 1));
        }
        store_column_group([=](int i) FASTNORM_INLINE_LAMBDA { return rows + i * step + start; }, some);
    }
}

// Whether tiles are transposed where they are, but for the last one of rows that are shorter than a group.
// Others, and that, pass through memory as dense as the array, where half types are widened.
template <class T>
FASTNORM_INLINE bool transposes_in_place(std::int64_t cols, bool more) {
    return sizeof(T) == sizeof(float) && (cols >= column_group<float> || more);
}

// A band of rows that are a step apart, the first of them at `row`, to `columns`; and back.
template <class T>
void rows_to_columns(const FewColumns& rows, const char* row, std::int64_t tiles, float* columns) {
    const std::int64_t cols = rows.shape->cols, step = rows.operand->outer_stride[rows.shape->outer_axes - 1];
    alignas(64) float dense[band_room];
    for (; tiles > 0; --tiles, row += tile_rows * step, columns += tile_rows * cols) {
        if (rows.lines) {
            for (std::int64_t j = 0; j < cols; ++j)
                store(
                    columns + j * tile_rows,
                    load<TileFloats>(reinterpret_cast<const T*>(row + rows.offset[j]))
                );
        } else if (transposes_in_place<T>(cols, tiles > 1)) {
            transpose_rows(
                reinterpret_cast<const float*>(row), step / std::int64_t(sizeof(float)), cols, columns
            );
        } else {
            for (std::int64_t k = 0; k < cols * tile_rows; k += tile_rows)
                store(dense + k, load<TileFloats>(reinterpret_cast<const T*>(row) + k));
            transpose_rows(dense, cols, cols, columns);
        }
    }
}
template <class T>
void columns_to_rows(const FewColumns& rows, const float* columns, std::int64_t tiles, char* row) {
    const std::int64_t cols = rows.shape->cols, step = rows.operand->outer_stride[rows.shape->outer_axes - 1];
    alignas(64) float dense[band_room];
    for (; tiles > 0; --tiles, row += tile_rows * step, columns += tile_rows * cols) {
        if (rows.lines) {
            for (std::int64_t j = 0; j < cols; ++j)
                store(reinterpret_cast<T*>(row + rows.offset[j]), load<TileFloats>(columns + j * tile_rows));
        } else if (transposes_in_place<T>(cols, tiles > 1)) {
            // What is written past the end of a tile is written again by the next one.
            transpose_columns(
                columns, cols, reinterpret_cast<float*>(row), step / std::int64_t(sizeof(float))
            );
        } else {
            transpose_columns(columns, cols, dense, cols);
            for (std::int64_t k = 0; k < cols * tile_rows; k += tile_rows)
                store(reinterpret_cast<T*>(row) + k, load<TileFloats>(dense + k));
        }
    }
}

FASTNORM_TARGET_END

namespace fastnorm {
namespace FASTNORM_TARGET {

Band band_to_read(const FewColumns& rows, std::int64_t first, std::int64_t count, float* room) {
    if constexpr (!is_compact) {
        if (is_in_place(rows) && rows.shape->cols <= columns_in_place) return band_in_place(rows, first);
        const auto move = rows.element == Element::float32   ? rows_to_columns<float>
                          : rows.element == Element::float16 ? rows_to_columns<float16>
                                                             : rows_to_columns<bfloat16>;
        move(rows, address_of_row(rows, first), count / tile_rows, room);
    }
    return band_in_room(rows, room);
}

void write_band(const FewColumns& rows, std::int64_t first, std::int64_t count, const float* columns) {
    if constexpr (!is_compact) {
        const auto move = rows.element == Element::float32   ? columns_to_rows<float>
                          : rows.element == Element::float16 ? columns_to_rows<float16>
                                                             : columns_to_rows<bfloat16>;
        move(rows, columns, count / tile_rows, address_of_row(rows, first));
    }
}

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm
