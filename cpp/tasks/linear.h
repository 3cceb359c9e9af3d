// What the kernels of dense layers are given, and how a product is divided.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// clang-format off: one activation a line
// The activations of layers, by the names that users give, and whether a gate takes the name too. Gates have
// swish besides, which is silu for beta = 1.
#define FASTNORM_LAYER_ACTIVATIONS(activation) \
    activation(relu, true) \
    activation(sigmoid, true) \
    activation(tanh, true) \
    activation(gelu, true) \
    activation(gelu_tanh, true) \
    activation(silu, false) \
    activation(mish, false) \
    activation(softplus, false) \
    activation(leaky_relu, false) \
    activation(hardswish, false) \
    activation(logsigmoid, false) \
    activation(elu, false)
// clang-format on

enum class Activation : int {
    none,
    swish,
#define FASTNORM_ENUMERATOR(name, is_gate) name,
    FASTNORM_LAYER_ACTIVATIONS(FASTNORM_ENUMERATOR)
#undef FASTNORM_ENUMERATOR
};

// One axis of a matrix: the axes of the array it stands for, in C order, with byte strides.
struct MatrixAxis {
    int count;
    const std::int64_t* extent;
    const std::int64_t* stride;
};

// `wide` elements are of the compute type, others of the kernel's element type; `aligned` to their size.
// Those of a packed weight lie `in_panels` (WeightPanels) and have no strides.
struct Matrix {
    char* data;
    MatrixAxis rows, cols;
    bool wide, aligned;
    bool in_panels = false;
};

FASTNORM_INLINE constexpr Matrix transposed(const Matrix& matrix) {
    return {matrix.data, matrix.cols, matrix.rows, matrix.wide, matrix.aligned, matrix.in_panels};
}

// Whether neighbours along the axis are `size` bytes apart.
FASTNORM_INLINE constexpr bool is_dense(const MatrixAxis& axis, std::int64_t size) {
    return axis.count == 1 && (axis.stride[0] == size || axis.extent[0] <= 1);
}

// The terms of an element of C are added in blocks of this many: within a block in one chain from zero on,
// the blocks' sums in their order. The error grows as depth_block + depth / depth_block, and 256 terms of a
// strip of A, six rows, stay in the first-level cache while the panels of B pass by.
constexpr std::int64_t depth_block = 256;

// Columns as panels hold them: whole cache lines, so that sizes do not depend on the target.
FASTNORM_INLINE constexpr std::int64_t padded_cols(std::int64_t cols, std::int64_t compute_size) {
    const std::int64_t lanes = 64 / compute_size;
    return (cols + lanes - 1) / lanes * lanes;
}

// A weight and its copy in panels, in the order in which tiles read it: for each block of depth_block rows
// all columns, padded with zeros, in panels of as many as the target's tile has, one after the other. Element
// (k, j) of a block that begins at row `first` and has `depth` rows lies in the panel that begins at first *
// padded_cols + j' * depth, j' being the panel's first column. Strides in bytes; units are blocks.
struct WeightPanels {
    std::int64_t rows, cols;
    char* weight;
    std::int64_t row_stride, col_stride;
    void* panels;  // of the compute type
};

// Columns that one row of A takes at a time where B is read by rows: their chains stay in the first-level
// cache, and B is read in lines of a page or two, which prefetchers follow.
constexpr std::int64_t one_row_cols = 2048;

// What becomes of z = A B + bias.
enum class Finish : int {
    activate,  // C = activation(z)
    multiply,  // C = activation(z) * other
    gradient,  // C = other * activation'(z)
    add,       // C = z + other
};

// C from A (rows x depth) and B (depth x cols). A call covers units [begin, end) of a grid of row_block x
// col_block elements of C, numbered along the rows of the grid. Every element of C is the same chain of
// operations wherever it lies, so what divide() chooses is free.
struct Product {
    std::int64_t rows, cols, depth;
    Matrix a, b, c, other;
    const void* col_bias;  // one for each column, or for each row, or null; of the compute type
    const void* row_bias;
    Activation activation;
    double beta;  // of swish
    Finish finish;
    bool accumulates;  // C = C + A B: C counts as a block of terms before the others

    std::int64_t row_block, col_block;
    std::int64_t packed_cols;  // columns of B that a thread takes at a time
    bool packs_a, packs_b;     // copied first, else read in place
    bool widens_b;             // with packs_b: halves that are read in place by targets that are not compact
    bool one_row;              // B is read in place, once
    bool along_rows;           // neighbours in memory are rows of A, else columns
    bool swapped;              // computed transposed
    bool staged;               // C takes no tiles in place: a unit is computed in scratch
};

FASTNORM_INLINE constexpr std::int64_t product_units(const Product& task) {
    return (task.rows + task.row_block - 1) / task.row_block *
           ((task.cols + task.col_block - 1) / task.col_block);
}

// Scratch, each part of whole cache lines: rows of A with padding between them against rows that share cache
// sets; a block of B, or the columns that do not fill a register; the staged unit.
constexpr std::int64_t packed_a_rows = 48, product_padding = 16;
FASTNORM_INLINE constexpr std::int64_t packed_depth(const Product& task) {
    return task.depth < depth_block ? task.depth : depth_block;
}
FASTNORM_INLINE constexpr std::int64_t packed_a_elements(const Product& task) {
    return task.packs_a ? packed_a_rows * (packed_depth(task) + product_padding) : 0;
}
FASTNORM_INLINE constexpr std::int64_t packed_b_elements(const Product& task) {
    const std::int64_t cols = task.packs_b ? (task.packed_cols + 15) / 16 * 16 : task.cols % 16 == 0 ? 0 : 16;
    return cols * packed_depth(task);
}
FASTNORM_INLINE constexpr std::int64_t product_scratch(const Product& task, std::int64_t compute_size) {
    const std::int64_t staged = task.staged ? task.row_block * task.col_block : 0;
    return (packed_a_elements(task) + packed_b_elements(task) + staged) * compute_size;
}

// Rows of A, four strips, that read B as fast where it lies as from a copy made for them.
constexpr std::int64_t in_place_rows = 24;

// Shares of a thread where B is packed already and costs nothing to divide: whoever is ahead takes more.
constexpr int packed_shares = 4;

// Divides a product among at most `threads` threads with a second-level cache of l2 bytes each. The sizes are
// those of the element type and of the compute type.
FASTNORM_INLINE void divide(
    Product& task, std::int64_t size, std::int64_t compute_size, int threads, std::int64_t l2
) {
    const auto smaller = [](std::int64_t a, std::int64_t b) { return a < b ? a : b; };
    const auto parts = [](std::int64_t whole, std::int64_t count, std::int64_t unit) {
        return ((whole + count - 1) / count + unit - 1) / unit * unit;
    };
    // Few columns would leave lanes of B empty: then C transposed = B transposed A transposed.
    task.swapped =
        !task.b.in_panels && !task.accumulates && task.cols * compute_size <= 64 && task.rows > 4 * task.cols;
    if (task.swapped) {
        const Matrix a = task.a;
        task.a = transposed(task.b), task.b = transposed(a), task.c = transposed(task.c);
        task.other = transposed(task.other);
        const std::int64_t rows = task.rows;
        task.rows = task.cols, task.cols = rows;
        task.row_bias = task.col_bias, task.col_bias = nullptr;
    }
    const auto is_plain = [&](const Matrix& m) {
        return m.aligned && (m.wide || size == compute_size) && m.rows.count == 1 && m.cols.count == 1;
    };
    task.staged = !(is_plain(task.c) && is_dense(task.c.cols, compute_size));
    task.row_block = task.rows;
    task.col_block = task.cols;
    if (threads > 1) {
        // Threads that share the columns copy the same block of B, those that share the rows read the same A
        // in place.
        if (task.cols >= 128 * threads || task.cols > task.rows) {
            task.col_block = parts(task.cols, task.b.in_panels ? packed_shares * threads : threads, 64);
        } else {
            task.row_block = parts(task.rows, threads, 6);
        }
    }
    if (task.staged) {
        task.row_block = parts(task.row_block, (task.row_block + 251) / 252, 6);
        task.col_block = smaller(task.col_block, 512);
    }
    // The block of B stays in the second-level cache, of which it takes half, while all strips of A pass by;
    // a packed one leaves room for the next. One of few terms is wide, and C is walked in long lines: 32
    // terms with C of 768 x 32000, Zen 4, one core, 72 GFLOP/s with 512 columns and 82 with 2048.
    const std::int64_t terms = packed_depth(task) > 64 ? packed_depth(task) : 64;
    const std::int64_t share = l2 / (task.b.in_panels ? 4 : 2);
    const std::int64_t cols_in_l2 =
        share / ((task.b.in_panels ? depth_block : terms) * compute_size) / 64 * 64;
    const std::int64_t most_cols = cols_in_l2 > 64 ? cols_in_l2 : 64;
    task.packed_cols = parts(task.col_block, (task.col_block + most_cols - 1) / most_cols, 64);

    // B is copied where more than four strips read it and a panel's lines, spread over the cache, do not fit
    // the first level.
    const std::int64_t b_step = task.b.rows.stride[0] < 0 ? -task.b.rows.stride[0] : task.b.rows.stride[0];
    const bool b_fits = task.row_block <= in_place_rows || task.depth * b_step <= 32768;
    // Rows without a step between them are what the kernel takes for packed ones.
    const bool in_place = !task.b.in_panels && b_fits && b_step > 0 && task.b.aligned &&
                          task.b.rows.count == 1 && is_dense(task.b.cols, task.b.wide ? compute_size : size);
    task.widens_b = in_place && !is_plain(task.b);
    task.packs_b = !task.b.in_panels && (!in_place || task.widens_b);
    const std::int64_t a_size = task.a.wide ? compute_size : size;
    task.along_rows = !is_dense(task.a.cols, a_size) && is_dense(task.a.rows, a_size);
    // A is copied where its elements are apart, or where lines of which a strip takes a part share cache
    // sets.
    const bool collides =
        task.along_rows && task.a.cols.stride[0] % 256 == 0 && task.cols * compute_size > 256;
    const bool a_lines = task.along_rows || is_dense(task.a.cols, a_size);
    task.packs_a = !(a_lines && is_plain(task.a)) || (collides && task.rows > 1);

    // One row has what reads B in place; a packed weight is read as fast.
    task.one_row =
        task.rows == 1 && !task.b.in_panels && !task.accumulates && task.cols >= 16 && task.depth >= 16;
    if (task.one_row) {
        task.along_rows = false;
        task.packs_a = !(is_plain(task.a) && is_dense(task.a.cols, compute_size));
        const bool b_lines = is_dense(task.b.cols, task.b.wide ? compute_size : size);
        const std::int64_t most = !b_lines           ? 64
                                  : is_plain(task.b) ? one_row_cols
                                                     : smaller(one_row_cols, task.packed_cols);
        task.packed_cols = smaller(parts(task.col_block, 1, 64), most);
    }
}

// sums[j] = the sum over rows of column j. A call covers columns [begin, end).
constexpr std::int64_t column_sums_strip = 64;
struct ColumnSums {
    std::int64_t rows, cols;
    Matrix matrix;
    void* sums;      // compute type
    double* totals;  // of rows before these, to which they are added; or null
};

}  // namespace fastnorm
