// The matrix product behind every dense layer: z = A B + bias and what becomes of it (Finish), C = activation(z) first
// of all.
//
// Blocks of A and B are copied to where tiles read them in long lines, unless they lie so already and are used too few
// times to pay for it; bias and activation are applied to a tile while it is in registers or in the first-level cache.
// An element of C is a sum over blocks of depth_block terms, added in their order, each a chain of multiply-adds in the
// compute type: relative to the sum of the magnitudes the error is at most (depth_block + depth / depth_block) * 2^-24.
#pragma once

#include "kernels/product_tile.h"
#include "kernels/tile_activation.h"

FASTNORM_TARGET_BEGIN

// Tiles of `Vectors` registers of columns, from column j on as far as whole ones reach (or with Partial to the end).
template <class C, int Rows, int Vectors, bool Partial, class Finish>
FASTNORM_INLINE void multiply_columns(
    const Tile<C>& panels, Lines lines, std::int64_t row, std::int64_t& j, std::int64_t cols, Finish finish
) {
    constexpr std::int64_t width = Vectors * native<C>;
    for (; Partial ? j < cols : j + width <= cols; j += width) {
        Tile<C> tile = panels;
        tile.b += j / panel_cols<C> * panels.b_panel;
        tile.c += j;
        tile.cols = cols - j;
        if (panels.col_bias) tile.col_bias += j;
        (lines == Lines::along_depth ? multiply_tile<C, Rows, Vectors, Lines::along_depth, Partial>
                                     : multiply_tile<C, Rows, Vectors, Lines::along_rows, Partial>)(tile);
        finish(FinishedTile<C>{tile.c, tile.c_step, Rows, smaller(tile.cols, width), row, j});
    }
}

// `Rows` rows of A with all panels of a block of B. The last panel may be partial; it is never read beyond by a whole
// register, since loads of no lane at all from a page that is not there take hundreds of cycles.
template <class C, int Rows, class Finish>
FASTNORM_INLINE void multiply_panels(
    const Tile<C>& panels, Lines lines, std::int64_t row, std::int64_t cols, Finish finish
) {
    std::int64_t j = 0;
    if constexpr (tile_vectors(Rows) > 2) {
        multiply_columns<C, Rows, tile_vectors(Rows), false>(panels, lines, row, j, cols, finish);
    }
    multiply_columns<C, Rows, 2, false>(panels, lines, row, j, cols, finish);
    multiply_columns<C, Rows, 2, true>(panels, lines, row, j, cols, finish);
}

// One thread's share of a product.
template <class T>
class ProductUnit {
    using C = compute_t<T>;
    static constexpr std::int64_t size = sizeof(C);

public:
    FASTNORM_INLINE ProductUnit(const Product& task, void* scratch) : task_(task), finish_(task) {
        packed_a_ = static_cast<C*>(scratch);
        packed_b_ = packed_a_ + packed_a_elements(task);
        staged_ = packed_b_ + packed_b_elements(task);
    }

    void run(std::int64_t first_row, std::int64_t last_row, std::int64_t first_col, std::int64_t last_col) {
        for (std::int64_t j = first_col; j < last_col; j += task_.packed_cols) {
            const std::int64_t cols = smaller(task_.packed_cols, last_col - j);
            std::int64_t k = 0;
            do {
                const std::int64_t depth = smaller(depth_block, task_.depth - k);
                take_b(k, depth, j, cols);
                tile_.depth = depth;
                tile_.accumulate = k > 0;
                last_block_ = k + depth == task_.depth;
                tile_.col_bias = last_block_ && task_.col_bias ? static_cast<const C*>(task_.col_bias) + j : nullptr;
                tile_.relu = last_block_ && finish_.is_relu();
                if (task_.staged) {
                    tile_.c_step = task_.col_block;
                    c_ = staged_ - first_row * tile_.c_step + (j - first_col);
                } else {
                    tile_.c_step = task_.c.rows.stride[0] / size;
                    c_ = reinterpret_cast<C*>(task_.c.data) + j;
                }
                std::int64_t i = first_row;
                for (; i + tile_height <= last_row; i += tile_height) multiply_rows<tile_height>(i, k, j, cols);
                multiply_last_rows<8>(i, last_row, k, j, cols);
                k += depth_block;
            } while (k < task_.depth);
        }
        if (task_.staged) write_back(first_row, last_row - first_row, first_col, last_col - first_col);
    }

private:
    static FASTNORM_INLINE const C* plain_address(const Matrix& matrix, std::int64_t i, std::int64_t j) {
        return reinterpret_cast<const C*>(matrix.data + i * matrix.rows.stride[0] + j * matrix.cols.stride[0]);
    }

    FASTNORM_INLINE void take_b(std::int64_t k, std::int64_t depth, std::int64_t j, std::int64_t cols) {
        const Matrix& b = task_.b;
        if (!task_.packs_b) {
            tile_.b = plain_address(b, k, j);
            tile_.b_step = b.rows.stride[0] / size;
            tile_.b_panel = panel_cols<C>;
            return;
        }
        tile_.b = packed_b_;
        tile_.b_step = panel_cols<C>;
        tile_.b_panel = depth * panel_cols<C>;
        C* panel = packed_b_;
        for (std::int64_t first = 0; first < cols; first += panel_cols<C>, panel += tile_.b_panel) {
            pack<T>(b, k, depth, j + first, smaller(panel_cols<C>, cols - first), panel, panel_cols<C>);
        }
    }

    FASTNORM_INLINE void take_a(std::int64_t i, std::int64_t rows, std::int64_t k) {
        const Matrix& a = task_.a;
        if (!task_.packs_a) {
            tile_.a = plain_address(a, i, k);
            tile_.a_step = (task_.along_rows ? a.cols : a.rows).stride[0] / size;
            return;
        }
        tile_.a = packed_a_;
        if (task_.along_rows) {
            tile_.a_step = packed_a_rows;
            pack<T>(transposed(a), k, tile_.depth, i, rows, packed_a_, tile_.a_step);
        } else {
            tile_.a_step = tile_.depth + product_padding;
            pack<T>(a, i, rows, k, tile_.depth, packed_a_, tile_.a_step);
        }
    }

    template <int Rows>
    void multiply_rows(std::int64_t i, std::int64_t k, std::int64_t j, std::int64_t cols) {
        take_a(i, Rows, k);
        tile_.c = c_ + i * tile_.c_step;
        tile_.row_bias = last_block_ && task_.row_bias ? static_cast<const C*>(task_.row_bias) + i : nullptr;
        const bool done = !last_block_ || finish_.is_done();
        const Lines lines = task_.along_rows ? Lines::along_rows : Lines::along_depth;
        multiply_panels<C, Rows>(tile_, lines, i, cols, [&](FinishedTile<C> tile) FASTNORM_INLINE_LAMBDA {
            if (done) return;
            tile.col += j;
            finish_.apply(tile);
        });
    }

    // Fewer rows than a tile is high: tiles of 8, 4, 2 and 1 rows.
    template <int Rows>
    FASTNORM_INLINE void multiply_last_rows(
        std::int64_t i, std::int64_t last_row, std::int64_t k, std::int64_t j, std::int64_t cols
    ) {
        if constexpr (Rows > 0) {
            if (Rows < tile_height && last_row - i >= Rows) {
                multiply_rows<Rows>(i, k, j, cols);
                i += Rows;
            }
            multiply_last_rows<Rows / 2>(i, last_row, k, j, cols);
        }
    }

    void write_back(std::int64_t first_row, std::int64_t rows, std::int64_t first_col, std::int64_t cols) {
        if (task_.c.wide) {
            unpack_lines<C>(staged_, task_.col_block, task_.c, first_row, rows, first_col, cols);
        } else {
            unpack_lines<T>(staged_, task_.col_block, task_.c, first_row, rows, first_col, cols);
        }
    }

    const Product& task_;
    C* packed_a_;
    C* packed_b_;
    C* staged_;
    const TileFinish<T> finish_;
    bool last_block_ = false;
    C* c_ = nullptr;  // column j of row 0
    Tile<C> tile_ = {};
};

template <class T>
void product(const Product& task, std::int64_t begin, std::int64_t end, void* scratch) {
    ProductUnit<T> work(task, scratch);
    const std::int64_t across = (task.cols + task.col_block - 1) / task.col_block;
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t row = unit / across * task.row_block, col = unit % across * task.col_block;
        work.run(row, smaller(row + task.row_block, task.rows), col, smaller(col + task.col_block, task.cols));
    }
}

FASTNORM_TARGET_END
