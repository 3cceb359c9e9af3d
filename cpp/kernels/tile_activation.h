// What is done with a tile of a product in the first-level cache: activations, their derivatives, gates.
#pragma once

#include "kernels/gelu.h"
#include "kernels/packing.h"
#include "kernels/relu.h"
#include "kernels/sigmoid.h"
#include "kernels/silu.h"
#include "kernels/tanh.h"

FASTNORM_TARGET_BEGIN

template <Activation kind, class V>
FASTNORM_INLINE V activate(V z, [[maybe_unused]] element_t<V> beta) {
    if constexpr (kind == Activation::relu) return relu(z);
    if constexpr (kind == Activation::sigmoid) return sigmoid(z);
    if constexpr (kind == Activation::tanh) return tanh(z);
    if constexpr (kind == Activation::gelu) return gelu<Approximation::none>(z);
    if constexpr (kind == Activation::gelu_tanh) return gelu<Approximation::tanh>(z);
    if constexpr (kind == Activation::silu) return silu(z);
    if constexpr (kind == Activation::swish) return z * sigmoid(broadcast<V>(beta) * z);
    return z;
}

// dy * activation'(z).
template <Activation kind, class V>
FASTNORM_INLINE V activate_backward(V dy, V z, [[maybe_unused]] element_t<V> beta) {
    if constexpr (kind == Activation::relu) return relu_gradient(dy, z);
    if constexpr (kind == Activation::sigmoid) return dy * sigmoid_derivative(z);
    if constexpr (kind == Activation::tanh) return dy * tanh_derivative(z);
    if constexpr (kind == Activation::gelu) return dy * gelu_derivative<Approximation::none>(z);
    if constexpr (kind == Activation::gelu_tanh) return dy * gelu_derivative<Approximation::tanh>(z);
    if constexpr (kind == Activation::silu) return dy * silu_derivative(z);
    // The derivative of z sigmoid(beta z) is that of u sigmoid(u) at u = beta z.
    if constexpr (kind == Activation::swish) return dy * silu_derivative(broadcast<V>(beta) * z);
    return dy;
}

// A tile of C, rows x cols with `step` between rows, which begins at (row, col) of the matrix.
template <class C>
struct FinishedTile {
    C* c;
    std::int64_t step, rows, cols, row, col;
};

// z = activation(z) over rows x cols elements; out = dy * activation'(z) over cols elements.
template <class C>
using Activate = void (*)(C* z, std::int64_t step, std::int64_t rows, std::int64_t cols, C beta);
template <class C>
using ActivateBackward = void (*)(const C* dy, const C* z, C* out, std::int64_t cols, C beta);

template <Activation kind, class C>
void activate_tile(C* z, std::int64_t step, std::int64_t rows, std::int64_t cols, C beta) {
    using V = Vec<C, native<C>>;
    for (std::int64_t i = 0; i < rows; ++i, z += step) {
        for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
            store_columns(z + j, activate<kind>(load_columns<V>(static_cast<const C*>(z) + j, part), beta), part);
        });
    }
}
template <Activation kind, class C>
void activate_row_backward(const C* dy, const C* z, C* out, std::int64_t cols, C beta) {
    using V = Vec<C, native<C>>;
    for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
        const V result = activate_backward<kind>(load_columns<V>(dy + j, part), load_columns<V>(z + j, part), beta);
        store_columns(out + j, result, part);
    });
}

// Finishes the tiles of a product.
template <class T>
class TileFinish {
    using C = compute_t<T>;

public:
    explicit TileFinish(const Product& task) : task_(task) {
        switch (task.activation) {
            case Activation::none:
                backward_ = activate_row_backward<Activation::none, C>;
                break;
#define FASTNORM_ACTIVATION(kind)                               \
    case Activation::kind:                                      \
        activate_ = activate_tile<Activation::kind, C>;         \
        backward_ = activate_row_backward<Activation::kind, C>; \
        break;
                FASTNORM_ACTIVATION(relu)
                FASTNORM_ACTIVATION(sigmoid)
                FASTNORM_ACTIVATION(tanh)
                FASTNORM_ACTIVATION(gelu)
                FASTNORM_ACTIVATION(gelu_tanh)
                FASTNORM_ACTIVATION(silu)
                FASTNORM_ACTIVATION(swish)
#undef FASTNORM_ACTIVATION
        }
    }

    // Applied in registers, where nothing else is to be done.
    bool is_relu() const { return task_.activation == Activation::relu && task_.finish == Finish::activate; }

    // Whether tiles come out of the registers as they are meant to be.
    bool is_done() const {
        const bool plain = task_.finish == Finish::activate || task_.finish == Finish::chain;
        return is_relu() || (plain && task_.activation == Activation::none);
    }

    void apply(const FinishedTile<C>& tile) const {
        const C beta = C(task_.beta);
        if (task_.finish == Finish::activate) return activate_(tile.c, tile.step, tile.rows, tile.cols, beta);
        if (task_.finish == Finish::keep) {
            unpack_lines<C>(tile.c, tile.step, task_.other, tile.row, tile.rows, tile.col, tile.cols);
            if (activate_) activate_(tile.c, tile.step, tile.rows, tile.cols, beta);
            return;
        }
        if (task_.finish == Finish::multiply && activate_) activate_(tile.c, tile.step, tile.rows, tile.cols, beta);
        for (std::int64_t i = 0; i < tile.rows; ++i) combine(tile.c + i * tile.step, tile.row + i, tile.col, tile.cols);
    }

private:
    FASTNORM_INLINE void combine(C* c, std::int64_t row, std::int64_t col, std::int64_t cols) const {
        using V = Vec<C, native<C>>;
        constexpr std::int64_t most = 8 * native<C>;  // columns of a tile
        C other[most];
        pack<T>(task_.other, row, 1, col, cols, other, most);
        const C* with = other;
        if (task_.finish == Finish::gradient) return backward_(with, c, c, cols, C(task_.beta));
        if (task_.finish == Finish::chain) return backward_(c, with, c, cols, C(task_.beta));
        const bool multiplies = task_.finish == Finish::multiply;
        for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
            const V z = load_columns<V>(static_cast<const C*>(c) + j, part), w = load_columns<V>(with + j, part);
            store_columns(c + j, multiplies ? z * w : z + w, part);
        });
    }

    const Product& task_;
    Activate<C> activate_ = nullptr;
    ActivateBackward<C> backward_ = nullptr;
};

FASTNORM_TARGET_END
