// Heads of arrays: rows of one in place or packed, and as tiles, whatever the layout and the element type.
#pragma once

#include <cstring>

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
    FASTNORM_INLINE RowBlock from(std::int64_t first) const { return {row(first), step}; }
};

template <class C>
struct Head;

// How elements of one type come from an array and go to it, so that what computes in C is compiled once for
// all types that do.
template <class C>
struct Moves {
    bool in_place;  // elements of the compute type are read where they lie
    RowBlock<C> (*pack)(const Head<C>& head, std::int64_t first, std::int64_t count);
    void (*read_tile)(
        const Head<C>& head, std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    );
    void (*write_tile)(
        const Head<C>& head, std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    );
};

// One head of an operand.
template <class C>
struct Head {
    HeadMatrix matrix;
    std::int64_t cols;
    C* packed;  // space for a block of rows
    const Moves<C>& moves;

    FASTNORM_INLINE Head(
        const Attention& task, const Moves<C>& of_element, const HeadMatrix& operand, std::int64_t columns,
        std::int64_t head
    )
        : matrix(operand), cols(columns), packed(nullptr), moves(of_element) {
        matrix.data += strided_offset(head, task.lead_axes, task.lead_extent, operand.lead_stride);
    }
    FASTNORM_INLINE char* at(std::int64_t row, std::int64_t col) const {
        return matrix.data + row * matrix.row_stride + col * matrix.col_stride;
    }
    FASTNORM_INLINE Head columns(std::int64_t first, std::int64_t count) const {
        Head part = *this;
        part.matrix.data = at(0, first);
        part.cols = count;
        return part;
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
    FASTNORM_INLINE RowBlock<C> rows(std::int64_t first, std::int64_t count) const {
        if (moves.in_place && matrix.contiguous) {
            return {reinterpret_cast<const C*>(at(first, 0)), matrix.row_stride / std::int64_t(sizeof(C))};
        }
        return moves.pack(*this, first, count);
    }
    // The same, packed in any case.
    FASTNORM_INLINE RowBlock<C> packed_rows(std::int64_t first, std::int64_t count) const {
        return moves.pack(*this, first, count);
    }
    // Rows [first, first + count) as a tile; lanes without a row hold zeros.
    FASTNORM_INLINE void read_tile(
        std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    ) const {
        moves.read_tile(*this, first, count, tile, lanes);
    }
    FASTNORM_INLINE void write_tile(
        std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
    ) const {
        moves.write_tile(*this, first, count, tile, lanes);
    }
};

template <class T, class C = compute_t<T>>
RowBlock<C> pack_rows(const Head<C>& head, std::int64_t first, std::int64_t count) {
    const HeadMatrix& matrix = head.matrix;
    const std::int64_t step = head.packed_step();
    for (std::int64_t i = 0; i < count && matrix.contiguous; ++i) {
        C* row = head.packed + i * step;
        const T* source = reinterpret_cast<const T*>(head.at(first + i, 0));
        for_columns<row_lanes>(0, head.cols, [&](std::int64_t c, auto part) FASTNORM_INLINE_LAMBDA {
            store_columns(row + c, load_columns<Vec<C, row_lanes>>(source + c, part), part);
        });
    }
    if (!matrix.contiguous && sizeof(T) == sizeof(C) && !head.lies_along_columns()) {
        for (std::int64_t i = 0; i < count; ++i) {
            char* const row = reinterpret_cast<char*>(head.packed + i * step);
            gather(head.at(first + i, 0), matrix.col_stride, int(sizeof(T)), row, head.cols);
        }
    } else if (!matrix.contiguous) {
        head.for_elements(count, 0, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
            head.packed[i * step + c] = read_widened<T>(head.at(first + i, c));
        });
    }
    return {head.packed, step};
}

// Between rows that lie as neighbours and a tile: what fills squares of registers. Returns the columns done.
// One by one, the elements of a tile and its result took a quarter of the time of attention over 128 slots of
// 32.
template <class T, bool reads, class C>
FASTNORM_INLINE std::int64_t turn_squares(
    const Head<C>& head, std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes
) {
    constexpr int side = native<C>;
    using Row = Vec<C, side>;
    if (!head.matrix.contiguous) return 0;
    T none[side] = {};
    const std::int64_t whole = head.cols / side * side;
    for (std::int64_t i = 0; i < (reads ? lanes : count); i += side) {
        for (std::int64_t c = 0; c < whole; c += side) {
            T* row[side];
            for (int k = 0; k < side; ++k)
                row[k] = i + k < count ? reinterpret_cast<T*>(head.at(first + i + k, 0)) + c : none;
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

template <class T, class C = compute_t<T>>
void read_tile(const Head<C>& head, std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes) {
    const std::int64_t turned = turn_squares<T, true>(head, first, count, tile, lanes);
    head.for_elements(count, turned, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
        tile[c * lanes + i] = read_widened<T>(head.at(first + i, c));
    });
    for (std::int64_t c = turned; c < head.cols && count < lanes; ++c) {
        for (std::int64_t i = count; i < lanes; ++i) tile[c * lanes + i] = 0;
    }
}

template <class T, class C = compute_t<T>>
void write_tile(const Head<C>& head, std::int64_t first, std::int64_t count, C* tile, std::int64_t lanes) {
    const std::int64_t turned = turn_squares<T, false>(head, first, count, tile, lanes);
    head.for_elements(count, turned, [&](std::int64_t i, std::int64_t c) FASTNORM_INLINE_LAMBDA {
        write_narrowed<T>(head.at(first + i, c), tile[c * lanes + i]);
    });
}

template <class T, class C = compute_t<T>>
constexpr Moves<C> moves_of = {sizeof(T) == sizeof(C), pack_rows<T>, read_tile<T>, write_tile<T>};

FASTNORM_TARGET_END
