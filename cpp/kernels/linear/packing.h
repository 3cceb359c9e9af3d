// Blocks of matrices copied to where tiles read them: in the compute type, lines of neighbours.
#pragma once

#include "kernels/loops/elements.h"
#include "simd/rows.h"
#include "simd/transpose.h"
#include "tasks/linear.h"

FASTNORM_TARGET_BEGIN

FASTNORM_INLINE std::int64_t offset_along(const MatrixAxis& axis, std::int64_t i) {
    return strided_offset(i, axis.count, axis.extent, axis.stride);
}

// target[i * step + j] = source(first_row + i, first_col + j).
template <class S, class C>
void pack_lines(
    const Matrix& source, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
    std::int64_t cols, C* target, std::int64_t step
) {
    using V = Vec<C, native<C>>;
    constexpr std::int64_t lanes = native<C>, size = sizeof(S);
    if (source.aligned && is_dense(source.cols, size)) {
        for (std::int64_t i = 0; i < rows; ++i) {
            const char* line = source.data + offset_along(source.rows, first_row + i) + first_col * size;
            for_columns<lanes>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                store_columns(
                    target + i * step + j, load_columns<V>(reinterpret_cast<const S*>(line) + j, part), part
                );
            });
        }
        return;
    }
    std::int64_t transposed_cols = 0;
    if (source.aligned && is_dense(source.rows, size) && rows >= lanes) {
        // Squares read along the rows' axis and turned in registers.
        transposed_cols = cols / lanes * lanes;
        const std::int64_t whole_rows = rows / lanes * lanes;
        for (std::int64_t j = 0; j < transposed_cols; j += lanes) {
            const char* line[lanes];
            for (int l = 0; l < lanes; ++l)
                line[l] = source.data + offset_along(source.cols, first_col + j + l) + first_row * size;
            for (std::int64_t i = 0; i < whole_rows; i += lanes) {
                V square[lanes];
                load_square<S>(
                    [&](int l) FASTNORM_INLINE_LAMBDA { return reinterpret_cast<const S*>(line[l]) + i; },
                    square
                );
                FASTNORM_UNROLL_REGISTERS
                for (int l = 0; l < lanes; ++l) store(target + (i + l) * step + j, square[l]);
            }
            for (std::int64_t i = whole_rows; i < rows; ++i) {
                for (int l = 0; l < lanes; ++l)
                    target[i * step + j + l] = read_widened<S>(line[l] + i * size);
            }
        }
    }
    for (std::int64_t j = transposed_cols; j < cols; ++j) {
        const char* line = source.data + offset_along(source.cols, first_col + j);
        for (std::int64_t i = 0; i < rows; ++i) {
            target[i * step + j] = read_widened<S>(line + offset_along(source.rows, first_row + i));
        }
    }
}

template <class T>
void pack(
    const Matrix& source, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
    std::int64_t cols, compute_t<T>* target, std::int64_t step
) {
    if (source.wide) {
        pack_lines<compute_t<T>>(source, first_row, rows, first_col, cols, target, step);
    } else {
        pack_lines<T>(source, first_row, rows, first_col, cols, target, step);
    }
}

// target(first_row + i, first_col + j) = source[i * step + j].
template <class S, class C>
void unpack_lines(
    const C* source, std::int64_t step, const Matrix& target, std::int64_t first_row, std::int64_t rows,
    std::int64_t first_col, std::int64_t cols
) {
    using V = Vec<C, native<C>>;
    const bool dense = target.aligned && is_dense(target.cols, sizeof(S));
    for (std::int64_t i = 0; i < rows; ++i) {
        char* line = target.data + offset_along(target.rows, first_row + i);
        if (dense) {
            S* elements = reinterpret_cast<S*>(line) + first_col;
            for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                store_columns(elements + j, load_columns<V>(source + i * step + j, part), part);
            });
        } else {
            for (std::int64_t j = 0; j < cols; ++j) {
                write_narrowed<S>(line + offset_along(target.cols, first_col + j), source[i * step + j]);
            }
        }
    }
}

template <class T>
void unpack(
    const compute_t<T>* source, std::int64_t step, const Matrix& target, std::int64_t first_row,
    std::int64_t rows, std::int64_t first_col, std::int64_t cols
) {
    if (target.wide) {
        unpack_lines<compute_t<T>>(source, step, target, first_row, rows, first_col, cols);
    } else {
        unpack_lines<T>(source, step, target, first_row, rows, first_col, cols);
    }
}

// Both for one element type, so that what computes in C is compiled once for all types that do.
template <class C>
using Pack = void (*)(
    const Matrix& source, std::int64_t first_row, std::int64_t rows, std::int64_t first_col,
    std::int64_t cols, C* target, std::int64_t step
);
template <class C>
using Unpack = void (*)(
    const C* source, std::int64_t step, const Matrix& target, std::int64_t first_row, std::int64_t rows,
    std::int64_t first_col, std::int64_t cols
);
template <class C>
struct Packing {
    Pack<C> pack;
    Unpack<C> unpack;
};
// Rows [k, k + depth) and columns [j, j + cols), and zeros up to `width` columns, one row after the other.
template <class C>
void pack_padded(
    Pack<C> pack, const Matrix& source, std::int64_t k, std::int64_t depth, std::int64_t j, std::int64_t cols,
    C* target, std::int64_t width
) {
    pack(source, k, depth, j, cols, target, width);
    if (cols == width) return;
    for (std::int64_t i = 0; i < depth; ++i) {
        for (std::int64_t l = cols; l < width; ++l) target[i * width + l] = 0;
    }
}

// Rows [k, k + depth) and columns [j, j + cols) as panels of `width` columns, one after the other, the last
// as narrow as columns padded to `padded` allow. Columns that are neighbours are read in long lines, 16 rows
// at a time, which prefetchers follow; else a panel at a time.
template <class C>
void pack_panels(
    Pack<C> pack, const Matrix& source, std::int64_t k, std::int64_t depth, std::int64_t j, std::int64_t cols,
    std::int64_t padded, C* panels, std::int64_t width
) {
    const bool long_lines = source.cols.count == 1 && source.cols.stride[0] <= 8;
    const std::int64_t group = long_lines ? 16 : depth;
    for (std::int64_t i = 0; i < depth; i += group) {
        const std::int64_t rows = smaller(group, depth - i);
        for (std::int64_t first = 0; first < padded; first += width) {
            const std::int64_t panel_width = smaller(width, padded - first);
            const std::int64_t count = smaller(panel_width, cols - first);
            C* panel = panels + first * depth + i * panel_width;
            pack_padded(pack, source, k + i, rows, j + first, count < 0 ? 0 : count, panel, panel_width);
        }
    }
}

template <class T>
constexpr Packing<compute_t<T>> packing_of() {
    return {pack<T>, unpack<T>};
}

FASTNORM_TARGET_END
