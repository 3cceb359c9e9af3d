// The matrix product behind every dense layer: z = A B + bias and what becomes of it (Finish), C =
// activation(z) first of all.
//
// Blocks of A and B are copied to where strips read them in long lines, unless they lie so already and are
// used too few times to pay for it; bias and activation are applied to a strip while it is in the first-level
// cache. An element of C is a sum over blocks of depth_block terms, added in their order, each a chain of
// multiply-adds in the compute type: relative to the sum of the magnitudes the error is at most (depth_block
// + depth / depth_block) * 2^-24.
#pragma once

#include "kernels/linear/finish.h"
#include "kernels/linear/one_row.h"
#include "kernels/linear/tile.h"

FASTNORM_TARGET_BEGIN

// Functions for elements of B that are not of the compute type, where they are widened as they are read.
template <class C>
struct Narrow {
    RowOfElements<C> row;
    MultiplyStrip<C> strip;
};

// One thread's share of a product.
template <class C>
class ProductUnit {
    static constexpr std::int64_t size = sizeof(C);

public:
    ProductUnit(const Product& task, const Packing<C>& packing, const Narrow<C>& narrow, void* scratch)
        : task_(task),
          packing_(packing),
          narrow_(narrow),
          multiply_strip_(task.widens_b && narrow.strip ? narrow.strip : multiply_strip<C>),
          finish_(task, packing.pack) {
        packed_a_ = static_cast<C*>(scratch);
        packed_b_ = packed_a_ + packed_a_elements(task);
        staged_ = packed_b_ + packed_b_elements(task);
    }

    void run(std::int64_t first_row, std::int64_t last_row, std::int64_t first_col, std::int64_t last_col) {
        for (std::int64_t j = first_col; j < last_col; j += task_.packed_cols) {
            strip_.cols = smaller(task_.packed_cols, last_col - j);
            C* c;  // column j of row 0
            if (task_.staged) {
                strip_.c_step = task_.col_block;
                c = staged_ - first_row * strip_.c_step + (j - first_col);
            } else {
                strip_.c_step = task_.c.rows.stride[0] / size;
                c = reinterpret_cast<C*>(task_.c.data) + j;
            }
            std::int64_t k = 0;
            do {
                strip_.depth = smaller(depth_block, task_.depth - k);
                strip_.accumulate = task_.accumulates || k > 0;
                if (!one_row()) take_b(k, j);
                const bool is_last = k + depth_block >= task_.depth;
                for (std::int64_t i = first_row; i < last_row; i += packed_a_rows) {
                    const std::int64_t count = smaller(packed_a_rows, last_row - i);
                    strip_.next = i == first_row ? block_after(k, j) : nullptr;
                    take_a(i, count, k);
                    strip_.c = c + i * strip_.c_step;
                    if (one_row()) {
                        multiply_one_row(
                            strip_.a, k, strip_.depth, j, strip_.cols, strip_.c, task_.b, packing_.pack,
                            narrow_.row
                        );
                        if (is_last) finish_.apply(strip_.c, strip_.c_step, 1, strip_.cols, i, j);
                        continue;
                    }
                    const auto finish = [&](std::int64_t row, std::int64_t rows) FASTNORM_INLINE_LAMBDA {
                        if (!is_last) return;
                        finish_.apply(
                            strip_.c + row * strip_.c_step, strip_.c_step, rows, strip_.cols, i + row, j
                        );
                    };
                    multiply(strip_, count, finish, multiply_strip_);
                }
                k += depth_block;
            } while (k < task_.depth);
        }
        if (task_.staged) {
            packing_.unpack(
                staged_, task_.col_block, task_.c, first_row, last_row - first_row, first_col,
                last_col - first_col
            );
        }
    }

private:
    static const C* plain_address(const Matrix& matrix, std::int64_t i, std::int64_t j) {
        return reinterpret_cast<const C*>(
            matrix.data + i * matrix.rows.stride[0] + j * matrix.cols.stride[0]
        );
    }

    // Where a packed weight has the block that is read after the one that begins at (k, j).
    const C* block_after(std::int64_t k, std::int64_t j) const {
        if (!task_.b.in_panels) return nullptr;
        k += depth_block;
        if (k >= task_.depth) k = 0, j += task_.packed_cols;
        if (j >= task_.cols) return nullptr;
        return panels_at(k, j, smaller(depth_block, task_.depth - k));
    }
    const C* panels_at(std::int64_t k, std::int64_t j, std::int64_t depth) const {
        return reinterpret_cast<const C*>(task_.b.data) + k * padded_cols(task_.cols, size) + j * depth;
    }

    void take_b(std::int64_t k, std::int64_t j) {
        const Matrix& b = task_.b;
        const std::int64_t cols = strip_.cols, depth = strip_.depth;
        if (task_.widens_b && narrow_.strip) {
            strip_.narrow_b = b.data + k * b.rows.stride[0] + j * b.cols.stride[0];
            strip_.b_step = b.rows.stride[0] / 2;
            strip_.b_edge = packed_b_;
            const std::int64_t edge = cols % panel_cols<C>;
            if (edge > 0) {
                pack_panels(
                    packing_.pack, b, k, depth, j + cols - edge, edge, padded_cols(edge, size), packed_b_,
                    panel_cols<C>
                );
            }
            return;
        }
        if (task_.packs_b) {
            strip_.b = packed_b_;
            strip_.b_step = 0;
            pack_panels(
                packing_.pack, b, k, depth, j, cols, padded_cols(cols, size), packed_b_, panel_cols<C>
            );
            return;
        }
        if (b.in_panels) {
            strip_.b = panels_at(k, j, depth);
            strip_.b_step = 0;
            return;
        }
        strip_.b = plain_address(b, k, j);
        strip_.b_step = b.rows.stride[0] / size;
        strip_.b_edge = packed_b_;
        const std::int64_t edge = cols % native<C>;
        if (edge > 0) pack_padded(packing_.pack, b, k, depth, j + cols - edge, edge, packed_b_, native<C>);
    }

    void take_a(std::int64_t i, std::int64_t rows, std::int64_t k) {
        const Matrix& a = task_.a;
        if (!task_.packs_a) {
            strip_.a = plain_address(a, i, k);
            strip_.a_row = a.rows.stride[0] / size;
            strip_.a_k = a.cols.stride[0] / size;
            return;
        }
        strip_.a = packed_a_;
        if (task_.along_rows) {
            strip_.a_row = 1, strip_.a_k = packed_a_rows;
            packing_.pack(transposed(a), k, strip_.depth, i, rows, packed_a_, packed_a_rows);
        } else {
            strip_.a_row = strip_.depth + product_padding, strip_.a_k = 1;
            packing_.pack(a, i, rows, k, strip_.depth, packed_a_, strip_.a_row);
        }
    }

    // Where code is to be small, one row is multiplied as others are.
    bool one_row() const { return !is_compact && task_.one_row; }

    const Product& task_;
    const Packing<C> packing_;
    const Narrow<C> narrow_;
    const MultiplyStrip<C> multiply_strip_;
    const RowFinish<C> finish_;
    C* packed_a_;
    C* packed_b_;
    C* staged_;
    Strip<C> strip_ = {};
};

template <class C>
void multiply_units(
    const Product& task, const Packing<C>& packing, const Narrow<C>& narrow, std::int64_t begin,
    std::int64_t end, void* scratch
) {
    ProductUnit<C> work(task, packing, narrow, scratch);
    const std::int64_t across = (task.cols + task.col_block - 1) / task.col_block;
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t row = unit / across * task.row_block, col = unit % across * task.col_block;
        work.run(
            row, smaller(row + task.row_block, task.rows), col, smaller(col + task.col_block, task.cols)
        );
    }
}

template <class T>
void matrix_product(const Product& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    Narrow<C> narrow = {};
    if constexpr (sizeof(T) < sizeof(C) && !is_compact)
        narrow = {row_of_elements<T, C>(), multiply_narrow_strip<T, C>};
    multiply_units<C>(task, packing_of<T>(), narrow, begin, end, scratch);
}

FASTNORM_TARGET_END
