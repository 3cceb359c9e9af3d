// Networks of dense layers: a block of rows goes through all layers, and back, while it is in the caches.
//
//   forward   z_l = a_l W_l + b_l,  a_{l+1} = f(z_l)
//             with dropout a_{l+1} = mask f(z_l) / (1 - p), and g likewise, for all layers but the last
//   backward  dz = g f'(z_l),  dW_l = a_l^T dz,  db_l = sum of dz over the rows,  g = dz W_l^T
//
// Hidden activations never reach memory: the backward computes them again for its block. An element of z is
// summed as in kernels/linear/matrix_product.h, so a row does not depend on the others and has the bits of
// the layers one by one; an element of dW is a sum over the blocks of its group, in their order, each one
// chain over its rows.
#pragma once

#include "kernels/linear/activation.h"
#include "kernels/linear/one_row.h"
#include "kernels/linear/pack_weight.h"
#include "kernels/linear/tile.h"
#include "kernels/loops/dropped_squares.h"
#include "kernels/mlp/merge.h"
#include "tasks/mlp.h"

FASTNORM_TARGET_BEGIN

// A block of rows on its way through the layers.
template <class C>
class MlpBlock {
    using V = Vec<C, native<C>>;

public:
    // For arrays of elements of `size` bytes, which the packing reads and writes.
    MlpBlock(const MlpRows& task, const Packing<C>& packing, std::int64_t size, void* scratch)
        : task_(task), packing_(packing), size_(size), packed_(static_cast<C*>(scratch)) {
        block_rows_ = mlp_scratch_rows(task);
        hidden_ = packed_ + block_rows_ * step(task.layers[0].in);
        g_ = hidden_ + block_rows_ * mlp_kept_step(task, sizeof(C));
        other_g_ = g_ + block_rows_ * task.widest;
    }

    void forward(std::int64_t first, std::int64_t rows) {
        if (!find_x(first)) copy_x(first, rows);
        Strip<C> strip = {};
        strip.a = x_, strip.a_row = x_step_, strip.a_k = 1;
        C* kept = hidden_;
        for (std::int64_t l = 0; l < task_.count; ++l) {
            const MlpLayer& layer = task_.layers[l];
            const std::int64_t z_step = step(layer.out);
            // Forward alone, two buffers take turns.
            C* z = task_.keeps ? kept : hidden_ + l % 2 * block_rows_ * task_.widest;
            C* a = task_.keeps && mlp_keeps_z(layer.activation) ? z + block_rows_ * z_step : z;
            kept += kept_elements(layer);
            strip.depth = layer.in;
            strip.b = static_cast<const C*>(layer.weight), strip.b_step = layer.weight_step;
            strip.c = z, strip.c_step = z_step, strip.cols = padded_cols(layer.out, sizeof(C));
            const Activate<C> activate = functions_of<C>(layer.activation).forward;
            const C* bias = static_cast<const C*>(layer.bias);
            const bool in_lanes = has_rows_in_lanes(layer, rows);
            const bool in_tiles = layer.activation == Activation::relu && layer.in <= depth_block;
            strip.relu_bias = in_tiles && !in_lanes ? bias : nullptr;
            const auto finish = [&](std::int64_t row, std::int64_t count) FASTNORM_INLINE_LAMBDA {
                if (strip.relu_bias) return;
                C* z_row = z + row * z_step;
                C* a_row = a + row * z_step;
                activate({z_row, a_row, z_step, count, strip.cols, bias, nullptr, C(1)});
            };
            if (in_lanes) {
                multiply_columns(strip, layer.out, rows);
                finish(0, rows);
            } else {
                multiply(strip, rows, finish);
            }
            drop(l, first, rows, a);
            strip.a = a, strip.a_row = z_step;
        }
        y_ = strip.a;
    }

    void write_y(std::int64_t first, std::int64_t rows) const {
        const std::int64_t cols = task_.layers[task_.count - 1].out;
        const StridedMatrix y(task_.y, task_.rows, cols, cols * size_, size_, size_, is_wide());
        packing_.unpack(y_, step(cols), y.matrix, first, rows, 0, cols);
    }

    // From the gradient of the output down to the input, after a forward of the same rows in this scratch.
    // Sums of parameter gradients begin with this block, or go on from where they stand.
    void backward(std::int64_t first, std::int64_t rows, C* sums, bool begins) {
        find_x(first);
        const std::int64_t outputs = task_.layers[task_.count - 1].out;
        if (task_.dy) {
            const StridedMatrix dy(
                task_.dy, task_.rows, outputs, task_.dy_row_stride, task_.dy_col_stride, size_, is_wide()
            );
            pack_padded(packing_.pack, dy.matrix, first, rows, 0, outputs, g_, step(outputs));
        }
        // What the layer keeps; g follows that of the last.
        const C* kept = g_ - kept_elements(task_.layers[task_.count - 1]);
        to_z(task_.layers[task_.count - 1], kept, g_, rows, sums, begins);
        for (std::int64_t l = task_.count - 1; l >= 0; --l) {
            const MlpLayer& layer = task_.layers[l];
            const C* a = l == 0 ? x_ : kept - block_rows_ * step(layer.in);
            add_weight_gradient(layer, a, l == 0 ? x_step_ : step(layer.in), rows, sums, begins);
            if (!layer.transposed) break;
            Strip<C> strip = {};
            strip.a = g_, strip.a_row = step(layer.out), strip.a_k = 1;
            strip.b = static_cast<const C*>(layer.transposed);
            strip.depth = layer.out;
            strip.c = other_g_, strip.c_step = step(layer.in), strip.cols = padded_cols(layer.in, sizeof(C));
            if (l > 0) kept -= kept_elements(task_.layers[l - 1]);
            // Strips while they are in the first-level cache, if not all rows stay there.
            const bool in_strips =
                rows * strip.c_step * std::int64_t(sizeof(C)) > 16384 && !makes_mask(l - 1);
            const auto finish = [&](std::int64_t row, std::int64_t count) FASTNORM_INLINE_LAMBDA {
                const std::int64_t first_element = row * strip.c_step;
                if (is_dropped(l - 1) && !makes_mask(l - 1))
                    scale_rows(other_g_ + first_element, strip.cols, strip.c_step, count);
                to_z(
                    task_.layers[l - 1], kept + first_element, other_g_ + first_element, count, sums,
                    begins && row == 0
                );
            };
            multiply(strip, rows, [&](std::int64_t row, std::int64_t count) FASTNORM_INLINE_LAMBDA {
                if (l > 0 && in_strips) finish(row, count);
            });
            if (l > 0 && makes_mask(l - 1)) drop(l - 1, first, rows, other_g_);
            if (l > 0 && !in_strips) finish(0, rows);
            C* swapped = g_;
            g_ = other_g_;
            other_g_ = swapped;
        }
        if (task_.dx) {
            const std::int64_t cols = task_.layers[0].in;
            const StridedMatrix dx(task_.dx, task_.rows, cols, cols * size_, size_, size_, is_wide());
            packing_.unpack(g_, step(cols), dx.matrix, first, rows, 0, cols);
        }
    }

private:
    static constexpr std::int64_t step(std::int64_t cols) { return mlp_step(cols, sizeof(C)); }
    std::int64_t kept_elements(const MlpLayer& layer) const {
        return block_rows_ * mlp_kept_step(layer, sizeof(C));
    }

    // The block's rows of x: in place where they lie as the products read them, else (false) where they are
    // copied to.
    bool find_x(std::int64_t first) {
        const std::int64_t cols = task_.layers[0].in, padded = padded_cols(cols, sizeof(C));
        const std::uintptr_t bits =
            reinterpret_cast<std::uintptr_t>(task_.x) | std::uintptr_t(task_.x_row_stride);
        const bool dense = task_.x_col_stride == std::int64_t(sizeof(C)) && bits % sizeof(C) == 0;
        if (is_wide() && dense && !task_.order && cols == padded) {
            x_ = reinterpret_cast<const C*>(task_.x + first * task_.x_row_stride);
            x_step_ = task_.x_row_stride / std::int64_t(sizeof(C));
            return true;
        }
        x_ = packed_;
        x_step_ = step(cols);
        return false;
    }

    void copy_x(std::int64_t first, std::int64_t rows) {
        const std::int64_t cols = task_.layers[0].in;
        const StridedMatrix x(
            task_.x, task_.rows, cols, task_.x_row_stride, task_.x_col_stride, size_, is_wide()
        );
        if (!task_.order) return pack_padded(packing_.pack, x.matrix, first, rows, 0, cols, packed_, x_step_);
        for (std::int64_t r = 0; r < rows; ++r)
            pack_padded(
                packing_.pack, x.matrix, task_.order[first + r], 1, 0, cols, packed_ + r * x_step_, x_step_
            );
    }

    // Few columns leave most lanes of a tile empty: for one or two it takes less time to turn squares of
    // rows. Tiles took 73 of the 786 us of a step of 1024 rows of 64-256-1; with rows in the lanes, and
    // gradients finished by strips, it takes 724 (float32, Zen 4, one core).
    bool has_rows_in_lanes(const MlpLayer& layer, std::int64_t rows) const {
        return !is_compact && layer.out * std::int64_t(sizeof(C)) <= 8 && layer.in >= 2 * native<C> &&
               rows >= native<C>;
    }

    // The strip's product where it has few columns, for all rows: each column is the product of one row with
    // A transposed.
    void multiply_columns(const Strip<C>& s, std::int64_t cols, std::int64_t rows) const {
        constexpr std::int64_t size = sizeof(C);
        alignas(64) C weight[depth_block];
        alignas(64) C column[mlp_block_rows];
        // In panels the columns are all in the first.
        const std::int64_t b_step = s.b_step == 0 ? s.cols : s.b_step;
        const std::int64_t b_line = s.b_step == 0 ? smaller(panel_cols<C>, s.cols) : s.b_step;
        const StridedMatrix turned(s.a, s.depth, rows, size, s.a_row * size, size, true);
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < s.cols; j += native<C>)
                store(s.c + r * s.c_step + j, broadcast<V>(0));
        }
        for (std::int64_t j = 0; j < cols; ++j) {
            for (std::int64_t k = 0; k < s.depth; k += depth_block) {
                const std::int64_t depth = smaller(depth_block, s.depth - k);
                const C* const b = s.b + k * b_step + j;
                for (std::int64_t i = 0; i < depth; ++i) weight[i] = b[i * b_line];
                multiply_one_row<C>(weight, k, depth, 0, rows, column, turned.matrix, packing_.pack, {});
            }
            for (std::int64_t r = 0; r < rows; ++r) s.c[r * s.c_step + j] = column[r];
        }
    }

    bool is_dropped(std::int64_t l) const { return task_.dropped > 0 && l < task_.count - 1; }

    // Whether the backward of a hidden layer needs the mask. relu's a is 0 where it was dropped, and its
    // derivative there too: what is left to do is to scale.
    bool makes_mask(std::int64_t l) const {
        return l >= 0 && is_dropped(l) && task_.layers[l].activation != Activation::relu;
    }
    void scale_rows(C* g, std::int64_t cols, std::int64_t step, std::int64_t rows) const {
        if (task_.dropped == dropout_levels) return;  // all gradients are 0, and there is no scale
        const V scale = broadcast<V>(C(task_.dropout_scale));
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < cols; j += native<C>)
                store(g + r * step + j, load<V>(g + r * step + j) * scale);
        }
    }

    // Drops rows of what a layer gives, or of its gradient. The mask is that of dropout for an array of (rows
    // / 16, units / 16, 16 rows, 16 units), rounded up; each layer has numbers of its own.
    FASTNORM_INLINE void drop(std::int64_t l, std::int64_t first, std::int64_t rows, C* a) const {
        if (!is_dropped(l)) return;
        const std::int64_t out = task_.layers[l].out, units = (out + square_side - 1) / square_side;
        const DroppedSquares<C> squares(task_.seed, task_.dropped, task_.dropout_scale, l);
        squares.drop(
            a, step(out), rows, padded_cols(out, sizeof(C)), {first / square_side * units, units, 1}
        );
    }

    // Rows of g, the gradient with respect to a layer's output, become that with respect to z, and are added
    // to dbias, one after the other.
    FASTNORM_OUTLINE void to_z(
        const MlpLayer& layer, const C* z, C* g, std::int64_t rows, C* sums, bool begins
    ) const {
        const std::int64_t cols = padded_cols(layer.out, sizeof(C)), z_step = step(layer.out);
        // relu's a serves for z: its sign is that of z where the derivative is not zero.
        const ActivateBackward<C> derive = functions_of<C>(layer.activation).backward;
        for (std::int64_t r = 0; r < rows; ++r)
            derive(g + r * z_step, z + r * z_step, g + r * z_step, cols, C(1));
        if (layer.dbias < 0) return;
        C* dbias = sums + layer.dbias;
        for (std::int64_t j = 0; j < cols; j += native<C>) {
            V sum = begins ? broadcast<V>(0) : load<V>(dbias + j);
            for (std::int64_t r = 0; r < rows; ++r) sum = sum + load<V>(g + r * z_step + j);
            store(dbias + j, sum);
        }
    }

    void add_weight_gradient(
        const MlpLayer& layer, const C* a, std::int64_t a_step, std::int64_t rows, C* sums, bool begins
    ) {
        const std::int64_t cols = padded_cols(layer.out, sizeof(C)), g_step = step(layer.out);
        Strip<C> strip = {};
        strip.depth = rows;
        strip.c = sums + layer.dweight;
        strip.accumulate = !begins;
        std::int64_t lines;
        if (mlp_is_narrow(layer.in, layer.out, sizeof(C))) {
            strip.a = g_, strip.a_k = g_step;
            strip.b = a, strip.b_step = a_step;
            strip.cols = padded_cols(layer.in, sizeof(C));
            lines = layer.out;
        } else {
            strip.a = a, strip.a_k = a_step;
            strip.b = g_, strip.b_step = g_step;
            strip.cols = cols;
            lines = layer.in;
        }
        strip.a_row = 1;
        strip.c_step = strip.cols;
        multiply(strip, lines, [](std::int64_t, std::int64_t) FASTNORM_INLINE_LAMBDA {});
    }

    bool is_wide() const { return size_ == std::int64_t(sizeof(C)); }

    const MlpRows& task_;
    const Packing<C> packing_;
    const std::int64_t size_;
    std::int64_t block_rows_;
    C* packed_;
    C* hidden_;  // backward: of each layer in turn z, where it is kept, and a
    C* g_;
    C* other_g_;
    const C* x_ = nullptr;
    std::int64_t x_step_ = 0;
    const C* y_ = nullptr;
};

static_assert(mlp_block_rows % square_side == 0, "blocks begin with a square");

template <class T>
void mlp_forward(const MlpRows& task, std::int64_t begin, std::int64_t end, void* scratch) {
    MlpBlock<compute_t<T>> block(task, packing_of<T>(), sizeof(T), scratch);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit * mlp_block_rows, rows = smaller(mlp_block_rows, task.rows - first);
        block.forward(first, rows);
        if (task.y) block.write_y(first, rows);
    }
}

template <class T>
void mlp_backward(const MlpRows& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit * mlp_block_rows, rows = smaller(mlp_block_rows, task.rows - first);
        C* sums = static_cast<C*>(task.partials) + first / task.group_rows * task.partial_elements;
        MlpBlock<C> block(task, packing_of<T>(), sizeof(T), scratch);
        block.backward(first, rows, sums, first % task.group_rows == 0);
    }
}

FASTNORM_TARGET_END
