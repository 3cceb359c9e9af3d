// Networks of dense layers: a block of rows goes through all layers, and back, while it is in the caches.
//
//   forward   z_l = a_l W_l + b_l,  a_{l+1} = f(z_l)
//   backward  dz = g f'(z_l),  dW_l = a_l^T dz,  db_l = sum of dz over the rows,  g = dz W_l^T
//
// Hidden activations never reach memory: the backward computes them again for its block. An element of z is one chain
// of multiply-adds over its inputs in their order, so a row does not depend on the others; an element of dW is one
// chain over the rows of its group.
#pragma once

#include "kernels/mlp_activation.h"
#include "kernels/mlp_tile.h"

FASTNORM_TARGET_BEGIN

template <class T>
FASTNORM_INLINE compute_t<T> mlp_element(const char* address) {
    T element;
    __builtin_memcpy(&element, address, sizeof element);
    return widen(element);
}

// Panels of mlp_panel_cols columns, the last one of the registers that are left; padding is zero.
template <class T>
void mlp_pack(const MlpPack& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    const std::int64_t padded = mlp_cols(task.cols, sizeof(C));
    for (std::int64_t panel = begin; panel < end; ++panel) {
        const std::int64_t first = panel * mlp_panel_cols<C>;
        const std::int64_t width = smaller(mlp_panel_cols<C>, padded - first);
        const std::int64_t cols = smaller(width, task.cols - first);
        C* to = static_cast<C*>(task.panels) + first * task.rows;
        for (std::int64_t k = 0; k < task.rows; ++k, to += width) {
            const char* from = task.source + k * task.row_stride + first * task.col_stride;
            if (task.col_stride == std::int64_t(sizeof(T))) {
                using V = Vec<C, native<C>>;
                for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                    store_columns(to + j, load_columns<V>(reinterpret_cast<const T*>(from) + j, part), part);
                });
            } else {
                for (std::int64_t j = 0; j < cols; ++j) to[j] = mlp_element<T>(from + j * task.col_stride);
            }
            for (std::int64_t j = cols; j < width; ++j) to[j] = 0;
        }
    }
}

// Activations over a block of rows x cols, `step` between rows, by their name.
template <MlpActivation kind, class C>
void mlp_activate(C* z, C* a, std::int64_t rows, std::int64_t cols, std::int64_t step, const C* bias) {
    using V = Vec<C, native<C>>;
    for (std::int64_t r = 0; r < rows; ++r, z += step, a += step) {
        for (std::int64_t j = 0; j < cols; j += native<C>) {
            V value = load<V>(z + j);
            if (bias) value = value + load<V>(bias + j);
            if (kind != MlpActivation::none && kind != MlpActivation::relu) store(z + j, value);
            store(a + j, mlp_activation<kind>(value));
        }
    }
}
// g becomes g f'(z); for relu `z` is a, whose sign is that of z where the derivative is not zero.
template <MlpActivation kind, class C>
void mlp_derive(C* g, const C* z, std::int64_t rows, std::int64_t cols, std::int64_t step) {
    using V = Vec<C, native<C>>;
    for (std::int64_t r = 0; r < rows; ++r, z += step, g += step) {
        for (std::int64_t j = 0; j < cols; j += native<C>)
            store(g + j, mlp_gradient<kind>(load<V>(g + j), load<V>(z + j)));
    }
}

#define FASTNORM_MLP_DISPATCH(function, kind, ...)                  \
    switch (kind) {                                                 \
        case MlpActivation::none:                                   \
            return function<MlpActivation::none>(__VA_ARGS__);      \
        case MlpActivation::relu:                                   \
            return function<MlpActivation::relu>(__VA_ARGS__);      \
        case MlpActivation::sigmoid:                                \
            return function<MlpActivation::sigmoid>(__VA_ARGS__);   \
        case MlpActivation::tanh:                                   \
            return function<MlpActivation::tanh>(__VA_ARGS__);      \
        case MlpActivation::gelu:                                   \
            return function<MlpActivation::gelu>(__VA_ARGS__);      \
        case MlpActivation::gelu_tanh:                              \
            return function<MlpActivation::gelu_tanh>(__VA_ARGS__); \
        case MlpActivation::silu:                                   \
            return function<MlpActivation::silu>(__VA_ARGS__);      \
    }
template <class C>
FASTNORM_INLINE void mlp_activate_as(
    MlpActivation kind, C* z, C* a, std::int64_t rows, std::int64_t cols, std::int64_t step, const C* bias
) {
    FASTNORM_MLP_DISPATCH(mlp_activate, kind, z, a, rows, cols, step, bias)
}
template <class C>
FASTNORM_INLINE void mlp_derive_as(
    MlpActivation kind, C* g, const C* z, std::int64_t rows, std::int64_t cols, std::int64_t step
) {
    FASTNORM_MLP_DISPATCH(mlp_derive, kind, g, z, rows, cols, step)
}
#undef FASTNORM_MLP_DISPATCH

// A block of rows on its way through the layers.
template <class T>
class MlpBlock {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;

public:
    FASTNORM_INLINE MlpBlock(const MlpRows& task, void* scratch) : task_(task), packed_(static_cast<C*>(scratch)) {
        block_rows_ = smaller(task.rows, mlp_block_rows);
        activations_ = packed_ + block_rows_ * step(task.layers[0].in);
        g_ = activations_;
        for (std::int64_t l = 0; l < task.count; ++l) g_ += 2 * block_rows_ * step(task.layers[l].out);
        other_g_ = g_ + block_rows_ * task.widest;
    }

    void forward(std::int64_t first, std::int64_t rows) {
        take_x(first, rows);
        const C* a = x_;
        std::int64_t a_step = x_step_;
        C* z = activations_;
        for (std::int64_t l = 0; l < task_.count; ++l) {
            const MlpLayer& layer = task_.layers[l];
            const std::int64_t cols = mlp_cols(layer.out, sizeof(C)), z_step = step(layer.out);
            C* next = z + block_rows_ * z_step;
            mlp_multiply<C>(
                {a, a_step, 1, static_cast<const C*>(layer.weight), 0, z, z_step, rows, layer.in, cols, false}
            );
            mlp_activate_as<C>(layer.activation, z, next, rows, cols, z_step, static_cast<const C*>(layer.bias));
            a = next;
            a_step = z_step;
            z = next + block_rows_ * z_step;
        }
        y_ = a;
    }

    void write_y(std::int64_t first, std::int64_t rows) const {
        const std::int64_t cols = task_.layers[task_.count - 1].out;
        write(y_, step(cols), static_cast<T*>(task_.y) + first * cols, rows, cols);
    }

    // From the gradient of the output or the loss down to the input; sums of parameter gradients go on from where
    // they stand.
    void backward(std::int64_t first, std::int64_t rows, C* sums, double* loss) {
        const std::int64_t out = step(task_.layers[task_.count - 1].out);
        if (task_.dy) {
            const std::int64_t cols = task_.layers[task_.count - 1].out;
            for (std::int64_t r = 0; r < rows; ++r) {
                const char* line = task_.dy + (first + r) * task_.dy_row_stride;
                for (std::int64_t j = 0; j < out; ++j)
                    g_[r * out + j] = j < cols ? mlp_element<T>(line + j * task_.dy_col_stride) : C(0);
            }
        } else {
            for (std::int64_t i = 0; i < rows * out; ++i) g_[i] = 0;
            task_.loss(task_.context, first, rows, out, y_, g_, loss);
        }
        const C* z = activations_;
        for (std::int64_t l = 0; l < task_.count; ++l) z += 2 * block_rows_ * step(task_.layers[l].out);
        for (std::int64_t l = task_.count - 1; l >= 0; --l) {
            const MlpLayer& layer = task_.layers[l];
            const std::int64_t cols = mlp_cols(layer.out, sizeof(C)), z_step = step(layer.out);
            z -= 2 * block_rows_ * z_step;
            const C* derived_from = layer.activation == MlpActivation::relu ? z + block_rows_ * z_step : z;
            if (layer.activation != MlpActivation::none)
                mlp_derive_as<C>(layer.activation, g_, derived_from, rows, cols, z_step);
            const C* a = l == 0 ? x_ : z - block_rows_ * step(layer.in);
            add_parameter_gradients(layer, a, l == 0 ? x_step_ : step(layer.in), rows, sums);
            if (!layer.transposed) break;
            const std::int64_t in = mlp_cols(layer.in, sizeof(C)), in_step = step(layer.in);
            mlp_multiply<C>(
                {g_, z_step, 1, static_cast<const C*>(layer.transposed), 0, other_g_, in_step, rows, layer.out, in,
                 false}
            );
            C* swapped = g_;
            g_ = other_g_;
            other_g_ = swapped;
        }
        if (task_.dx) {
            const std::int64_t cols = task_.layers[0].in;
            write(g_, step(cols), static_cast<T*>(task_.dx) + first * cols, rows, cols);
        }
    }

private:
    static constexpr std::int64_t step(std::int64_t cols) { return mlp_step(cols, sizeof(C)); }

    // The block's rows of x: in place where they lie as the products read them, else copied.
    void take_x(std::int64_t first, std::int64_t rows) {
        const std::int64_t cols = task_.layers[0].in, padded = mlp_cols(cols, sizeof(C));
        if (sizeof(T) == sizeof(C) && !task_.order && task_.x_col_stride == std::int64_t(sizeof(T)) && cols == padded &&
            task_.x_row_stride % std::int64_t(sizeof(T)) == 0 &&
            reinterpret_cast<std::uintptr_t>(task_.x) % sizeof(T) == 0) {
            x_ = reinterpret_cast<const C*>(task_.x + first * task_.x_row_stride);
            x_step_ = task_.x_row_stride / std::int64_t(sizeof(T));
            return;
        }
        for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t row = task_.order ? task_.order[first + r] : first + r;
            const char* line = task_.x + row * task_.x_row_stride;
            C* to = packed_ + r * step(cols);
            if (task_.x_col_stride == std::int64_t(sizeof(T))) {
                for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                    store_columns(to + j, load_columns<V>(reinterpret_cast<const T*>(line) + j, part), part);
                });
            } else {
                for (std::int64_t j = 0; j < cols; ++j) to[j] = mlp_element<T>(line + j * task_.x_col_stride);
            }
            for (std::int64_t j = cols; j < padded; ++j) to[j] = 0;
        }
        x_ = packed_;
        x_step_ = step(cols);
    }

    FASTNORM_INLINE void add_parameter_gradients(
        const MlpLayer& layer, const C* a, std::int64_t a_step, std::int64_t rows, C* sums
    ) {
        const std::int64_t cols = mlp_cols(layer.out, sizeof(C)), g_step = step(layer.out);
        if (layer.dbias >= 0) {
            C* dbias = sums + layer.dbias;
            for (std::int64_t j = 0; j < cols; j += native<C>) {
                V sum = load<V>(dbias + j);
                for (std::int64_t r = 0; r < rows; ++r) sum = sum + load<V>(g_ + r * g_step + j);
                store(dbias + j, sum);
            }
        }
        C* dweight = sums + layer.dweight;
        if (mlp_is_narrow(layer.in, layer.out, sizeof(C))) {
            const std::int64_t in = mlp_cols(layer.in, sizeof(C));
            mlp_multiply<C>({g_, 1, g_step, a, a_step, dweight, in, layer.out, rows, in, true});
        } else {
            mlp_multiply<C>({a, 1, a_step, g_, g_step, dweight, cols, layer.in, rows, cols, true});
        }
    }

    static FASTNORM_INLINE void write(
        const C* from, std::int64_t from_step, T* to, std::int64_t rows, std::int64_t cols
    ) {
        for (std::int64_t r = 0; r < rows; ++r) {
            for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                store_columns(to + r * cols + j, load_columns<V>(from + r * from_step + j, part), part);
            });
        }
    }

    const MlpRows& task_;
    std::int64_t block_rows_;
    C* packed_;
    C* activations_;  // z and a of each layer in turn
    C* g_;
    C* other_g_;
    const C* x_ = nullptr;
    std::int64_t x_step_ = 0;
    const C* y_ = nullptr;
};

// Units are blocks of rows.
template <class T>
void mlp_forward(const MlpRows& task, std::int64_t begin, std::int64_t end, void* scratch) {
    MlpBlock<T> block(task, scratch);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit * mlp_block_rows, rows = smaller(mlp_block_rows, task.rows - first);
        block.forward(first, rows);
        block.write_y(first, rows);
    }
}

// Units are groups of rows.
template <class T>
void mlp_backward(const MlpRows& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    MlpBlock<T> block(task, scratch);
    for (std::int64_t group = begin; group < end; ++group) {
        C* sums = static_cast<C*>(task.partials) + group * task.partial_elements;
        for (std::int64_t i = 0; i < task.partial_elements; ++i) sums[i] = 0;
        double loss = 0;
        const std::int64_t last = smaller(task.rows, (group + 1) * task.group_rows);
        for (std::int64_t first = group * task.group_rows; first < last; first += mlp_block_rows) {
            const std::int64_t rows = smaller(mlp_block_rows, last - first);
            block.forward(first, rows);
            block.backward(first, rows, sums, &loss);
        }
        if (task.losses) task.losses[group] = loss;
    }
}

template <class T>
void mlp_merge(const MlpMerge& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    const C penalty = C(task.penalty);
    for (std::int64_t i = begin; i < end; ++i) {
        const C* partial = static_cast<const C*>(task.partials) + i * task.row_step;
        C* gradient = static_cast<C*>(task.gradient) + i * task.cols;
        if (task.col_step == 1) {
            for_columns<native<C>>(0, task.cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                V sum = load_columns<V>(partial + j, part);
                for (std::int64_t g = 1; g < task.groups; ++g)
                    sum = sum + load_columns<V>(partial + g * task.partial_elements + j, part);
                store_columns(gradient + j, sum, part);
            });
        } else {
            for (std::int64_t j = 0; j < task.cols; ++j) {
                C sum = partial[j * task.col_step];
                for (std::int64_t g = 1; g < task.groups; ++g)
                    sum = sum + partial[g * task.partial_elements + j * task.col_step];
                gradient[j] = sum;
            }
        }
        if (penalty != 0) {
            const char* line = task.parameter + i * task.row_stride;
            for (std::int64_t j = 0; j < task.cols; ++j)
                gradient[j] = gradient[j] + penalty * mlp_element<T>(line + j * task.col_stride);
        }
    }
}

FASTNORM_TARGET_END
