// Rows copied between their places in an array and packed memory, for the tiles of all families
// (loops/row_tile.h): once for a target, in the object of copies.
#pragma once

#include <cstdlib>

#include "kernels/copies/gather.h"
#include "kernels/loops/row_tile.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

// Elements are moved as bytes: their addresses in the array need not be aligned. To packed memory if `pack`,
// else back.
template <int Size>
FASTNORM_INLINE void move_elements(
    const char* source, std::int64_t source_step, char* target, std::int64_t target_step, std::int64_t count
) {
    if (target_step == Size) return gather_elements<Size>(source, source_step, target, count);
    for (; count > 0; --count, source += source_step, target += target_step)
        std::memcpy(target, source, Size);
}

// One row, along all inner axes.
template <int Size>
FASTNORM_INLINE void move_row(
    const Rows& shape, const std::int64_t* stride, char* row, char* packed, bool pack
) {
    const int last = shape.inner_axes - 1;
    const std::int64_t run = shape.inner_extent[last], step = stride[last];
    for (std::int64_t start = 0; start < shape.cols; start += run) {
        char* const elements = row + strided_offset(start / run, last, shape.inner_extent, stride);
        char* const place = packed + start * Size;
        if (pack) {
            move_elements<Size>(elements, step, place, Size, run);
        } else {
            move_elements<Size>(place, Size, elements, step, run);
        }
    }
}

// `count` rows whose elements are neighbours in memory: a column of them is a line. Strips are transposed in
// registers; the last ones overlap those before. Meanwhile the lines of the rows two tiles on are fetched,
// which no processor does by itself: they are a whole row of the array apart.
template <int Size>
FASTNORM_INLINE void move_neighbours(
    const Rows& shape, const std::int64_t* stride, char* first_row, char* packed, std::int64_t packed_step,
    int count, bool pack
) {
    constexpr int most = strip_rows<Size> > strip_columns<Size> ? strip_rows<Size> : strip_columns<Size>;
    const int lines_together = pack ? strip_rows<Size> : strip_columns<Size>;
    const int rows_together = pack ? strip_columns<Size> : strip_rows<Size>;
    const bool strips = shape.cols >= lines_together && count >= rows_together;
    const int step = strips ? lines_together : 1;
    char* rows[tile_rows];
    for (int i = 0; i < count; ++i) rows[i] = packed + i * packed_step;
    for (std::int64_t next = 0; next < shape.cols; next += step) {
        const std::int64_t j = smaller(next, shape.cols - step);
        char* lines[most];
        for (int k = 0; k < step; ++k) {
            lines[k] = first_row + strided_offset(j + k, shape.inner_axes, shape.inner_extent, stride);
            if (pack) {
                prefetch_read(lines[k] + 2 * count * Size);
            } else {
                prefetch_write(lines[k] + 2 * count * Size);
            }
        }
        if (!strips) {
            const std::int64_t line_step = pack ? Size : packed_step, row_step = pack ? packed_step : Size;
            char* const place = packed + j * Size;
            move_elements<Size>(pack ? lines[0] : place, line_step, pack ? place : lines[0], row_step, count);
            continue;
        }
        for (int next_row = 0; next_row < count; next_row += rows_together) {
            const int i = int(smaller(next_row, count - rows_together));
            transpose_strip<Size>(
                pack ? lines : rows + i, pack ? i * Size : j * Size, pack ? rows + i : lines,
                pack ? j * Size : i * Size
            );
        }
    }
}

// `count` rows that lie closer together than the elements of each: column by column, so that a line that
// holds elements of several rows is fetched once for all of them. Row by row, batch_norm of an F-ordered (8,
// 64, 28, 28) waited 15 ns for an element on Zen 4: the elements of a plane share two sets of the first-level
// cache.
template <int Size>
FASTNORM_INLINE void move_close_rows(
    const Rows& shape, const std::int64_t* stride, char* first_row, std::int64_t row_step, char* packed,
    std::int64_t packed_step, int count, bool pack
) {
    const int last = shape.inner_axes - 1;
    const std::int64_t run = shape.inner_extent[last], step = stride[last];
    for (std::int64_t start = 0; start < shape.cols; start += run) {
        char* elements = first_row + strided_offset(start / run, last, shape.inner_extent, stride);
        char* place = packed + start * Size;
        for (std::int64_t j = 0; j < run; ++j, elements += step, place += Size) {
            if (pack) {
                move_elements<Size>(elements, row_step, place, packed_step, count);
            } else {
                move_elements<Size>(place, packed_step, elements, row_step, count);
            }
        }
    }
}

template <int Size>
void move_rows_of(
    const Rows& shape, const Operand& operand, std::int64_t first, int count, char* packed,
    std::int64_t packed_step, bool pack
) {
    const int last = shape.outer_axes - 1;
    const std::int64_t extent = shape.outer_extent[last];
    const std::int64_t row_step = operand.outer_stride[last];
    const bool neighbours = row_step == Size;
    const std::int64_t column_step = operand.inner_stride[shape.inner_axes - 1];
    const bool close = std::abs(row_step) < std::abs(column_step);
    for (int done = 0, run; done < count; done += run, packed += run * packed_step) {
        const std::int64_t row = first + done;
        char* const address =
            operand.data + strided_offset(row, shape.outer_axes, shape.outer_extent, operand.outer_stride);
        run = neighbours || close ? int(smaller(count - done, extent - row % extent)) : 1;
        if (run > 1 && neighbours) {
            move_neighbours<Size>(shape, operand.inner_stride, address, packed, packed_step, run, pack);
        } else if (run > 1) {
            move_close_rows<Size>(
                shape, operand.inner_stride, address, row_step, packed, packed_step, run, pack
            );
        } else {
            move_row<Size>(shape, operand.inner_stride, address, packed, pack);
        }
    }
}

FASTNORM_TARGET_END

namespace fastnorm {
namespace FASTNORM_TARGET {

void move_rows(
    const Rows& shape, const Operand& operand, int size, std::int64_t first, int count, char* packed,
    std::int64_t packed_step, bool pack
) {
    const auto move = size == 8 ? move_rows_of<8> : size == 4 ? move_rows_of<4> : move_rows_of<2>;
    move(shape, operand, first, count, packed, packed_step, pack);
}

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm
