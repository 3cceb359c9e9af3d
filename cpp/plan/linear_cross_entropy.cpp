#include "plan/linear_cross_entropy.h"

#include <algorithm>
#include <cstring>

#include "runtime/dispatch.h"
#include "tasks/class_losses.h"

namespace fastnorm {

namespace {

// Logits that are there at a time, or columns of them that are copied: 3 MiB of float32.
constexpr std::int64_t logits_together = std::int64_t(3) << 18;

// Rows of which the gradient keeps all logits: a product with so few rows waits for the weight (Zen 4, one
// core, 32 rows of 768 with 32000 classes: 62 to 103 GFLOP/s by product, 48 rows 69 to 106), and more would
// be more memory.
constexpr std::int64_t least_rows = 32;

// Rows of the loss alone, of whose logits there are some columns at a time.
constexpr std::int64_t most_rows = 1024;

// One thread's time for a logit beside the products, with its gradient: exponentials and maxima.
constexpr double logit_nanoseconds = 0.5;

// Part of a matrix of two axes.
class Part {
public:
    Part(const Matrix& whole, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols)
        : extent_{rows, cols}, stride_{whole.rows.stride[0], whole.cols.stride[0]} {
        char* const data = whole.data + row * stride_[0] + col * stride_[1];
        matrix_ = {data, {1, extent_, stride_}, {1, extent_ + 1, stride_ + 1}, whole.wide, whole.aligned};
    }
    // The first elements of a row as a contiguous matrix.
    Part(const Matrix& row, std::int64_t rows, std::int64_t cols)
        : extent_{rows, cols}, stride_{cols * row.cols.stride[0], row.cols.stride[0]} {
        matrix_ = {row.data, {1, extent_, stride_}, {1, extent_ + 1, stride_ + 1}, row.wide, row.aligned};
    }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    operator const Matrix&() const { return matrix_; }

private:
    std::int64_t extent_[2], stride_[2];
    Matrix matrix_;
};

// Rows of a loss and what is known of them between blocks of columns.
class LossRows {
public:
    explicit LossRows(const ClassifierLoss& loss, std::int64_t most)
        : loss_(loss),
          rows_(std::size_t(std::min(most, loss.x.rows())) * sizeof(ClassRow)),
          compute_size_(item_size(compute_element(loss.element))) {}

    explicit operator bool() const { return bool(rows_); }

    // Logits of columns [col, col + cols) of rows [row, row + count): losses with the last ones, and the
    // gradient in their place if it is wanted.
    bool take(
        const Matrix& logits, std::int64_t row, std::int64_t count, std::int64_t col, std::int64_t cols,
        bool wants_gradient
    ) const {
        const Part x(loss_.x.matrix(), row, count, 0, loss_.x.cols());
        const Part weight(loss_.weight.matrix(), 0, loss_.weight.rows(), col, cols);
        const char* const bias =
            loss_.bias ? static_cast<const char*>(loss_.bias) + col * compute_size_ : nullptr;
        if (!run_product(layer_product(x, weight, bias, logits), loss_.element)) return false;
        LinearCrossEntropy task = {};
        task.logits = logits.data;
        task.step = logits.rows.stride[0] / compute_size_;
        task.first = col, task.last = col + cols, task.classes = loss_.weight.cols();
        task.labels = loss_.labels + row;
        task.rows = static_cast<ClassRow*>(rows_.data());
        task.label_smoothing = loss_.label_smoothing;
        task.losses = loss_.losses ? loss_.losses + row : nullptr;
        task.wants_gradient = wants_gradient;
        if (loss_.dloss) task.dloss = static_cast<const char*>(loss_.dloss) + row * compute_size_;
        task.scale = loss_.scale;
        const std::int64_t chunk = std::max<std::int64_t>(4096 / std::max<std::int64_t>(cols, 1), 1);
        const double nanoseconds = logit_nanoseconds * double(count) * double(cols);
        return run(kernels().linear_cross_entropy[int(loss_.element)], task, {count, chunk, nanoseconds, 0});
    }

private:
    const ClassifierLoss& loss_;
    const Buffer rows_;
    const std::int64_t compute_size_;
};

// Copies a matrix of rows of neighbours, both of the compute type.
bool copy_rows(const Matrix& from, const Matrix& to, Element element) {
    const std::size_t bytes = std::size_t(from.cols.extent[0] * item_size(compute_element(element)));
    const auto body = [&](std::int64_t begin, std::int64_t end, void*) {
        for (std::int64_t i = begin; i < end; ++i) {
            std::memcpy(to.data + i * to.rows.stride[0], from.data + i * from.rows.stride[0], bytes);
        }
    };
    constexpr double byte_nanoseconds = 0.1;
    const double nanoseconds = byte_nanoseconds * double(from.rows.extent[0]) * double(bytes);
    return run_units({from.rows.extent[0], 16, nanoseconds, 0}, body);
}

// Columns of so many rows that are copied at a time.
std::int64_t columns_copied(std::int64_t rows, std::int64_t classes) {
    return std::min(std::max<std::int64_t>(logits_together / rows / 64 * 64, 64), classes);
}

// The gradients from dz of some rows: dx of those, and their terms of dweight and dbias.
class GradientSums {
public:
    GradientSums(const ClassifierLoss& loss, const ClassifierGradients& gradients)
        : loss_(loss),
          results_(gradients),
          depth_(loss.x.cols()),
          classes_(loss.weight.cols()),
          totals_(std::size_t(gradients.dbias ? classes_ : 0) * sizeof(double)) {
        if (totals_ && gradients.dbias)
            std::memset(totals_.data(), 0, std::size_t(classes_) * sizeof(double));
    }

    explicit operator bool() const { return bool(totals_); }

    bool take(const Matrix& dz, std::int64_t row, std::int64_t count) const {
        if (!take_dbias_and_dx(dz, row, count)) return false;
        const Part x(loss_.x.matrix(), row, count, 0, depth_);
        Product task = layer_product(transposed(x), dz, nullptr, results_.dweight.matrix());
        task.accumulates = row > 0;
        return run_product(task, loss_.element);
    }

    // The same of the first rows, whose dz lies where dweight is to be: of a block of columns after the other
    // it is copied, and dweight takes its place.
    bool take_in_place(std::int64_t count, const Matrix& space) const {
        const Matrix& dweight = results_.dweight.matrix();
        if (!take_dbias_and_dx(Part(dweight, 0, count, 0, classes_), 0, count)) return false;
        const std::int64_t most = columns_copied(count, classes_);
        const Part x(loss_.x.matrix(), 0, count, 0, depth_);
        for (std::int64_t col = 0; col < classes_ && goes_on(); col += most) {
            const std::int64_t cols = std::min(most, classes_ - col);
            const Part dz(space, count, cols), block(dweight, 0, depth_, col, cols);
            if (!copy_rows(Part(dweight, 0, count, col, cols), dz, loss_.element)) return false;
            if (!run_product(layer_product(transposed(x), dz, nullptr, block), loss_.element)) return false;
        }
        return goes_on();
    }

private:
    bool take_dbias_and_dx(const Matrix& dz, std::int64_t row, std::int64_t count) const {
        double* const totals = static_cast<double*>(totals_.data());
        if (results_.dbias && !run_column_sums(dz, loss_.element, results_.dbias, totals)) return false;
        const Matrix& weight = loss_.weight.matrix();
        const Part dx(results_.dx.matrix(), row, count, 0, depth_);
        // Few rows as columns of the transposed product, which reads a weight along its rows where they lie
        // so: 32 rows of 768 with 32000 classes take 103 GFLOP/s and not 71 (Zen 4, one core).
        const std::int64_t size = item_size(weight.wide ? compute_element(loss_.element) : loss_.element);
        if (count <= 2 * least_rows && is_dense(weight.cols, size)) {
            return run_product(layer_product(weight, transposed(dz), nullptr, transposed(dx)), loss_.element);
        }
        return run_product(layer_product(dz, transposed(weight), nullptr, dx), loss_.element);
    }

    const ClassifierLoss& loss_;
    const ClassifierGradients& results_;
    const std::int64_t depth_, classes_;
    const Buffer totals_;  // of dbias
};

}  // namespace

double classifier_loss_nanoseconds(const ClassifierLoss& loss, bool with_gradients) {
    Product task = {};
    task.rows = loss.x.rows(), task.depth = loss.x.cols(), task.cols = loss.weight.cols();
    return (with_gradients ? 3 : 1) * product_nanoseconds(task, loss.element) +
           logit_nanoseconds * double(task.rows) * double(task.cols);
}

// Some columns of all rows, or of as many as there may be, at a time.
bool run_classifier_loss(const ClassifierLoss& loss) noexcept {
    const std::int64_t rows = loss.x.rows(), classes = loss.weight.cols();
    if (rows == 0) return true;
    const std::int64_t row_block = std::min(rows, most_rows);
    const std::int64_t col_block =
        std::min(std::max(logits_together / row_block / class_block * class_block, class_block), classes);
    const LossRows loss_rows(loss, row_block);
    const MatrixBuffer logits(row_block, col_block, loss.element);
    if (!loss_rows || !logits) return false;
    for (std::int64_t row = 0; row < rows; row += row_block) {
        const std::int64_t count = std::min(row_block, rows - row);
        for (std::int64_t col = 0; col < classes; col += col_block) {
            const std::int64_t cols = std::min(col_block, classes - col);
            const Part block(logits.matrix(), 0, count, 0, cols);
            if (!loss_rows.take(block, row, count, col, cols, false) || !goes_on()) return false;
        }
    }
    return true;
}

// All columns of some rows at a time: three products, where a second walk over the columns would take four.
// As many rows as the layer has inputs go first, with their logits where dweight is to be; what rows are left
// share a buffer. The order of the terms of dweight and dbias follows from the shape.
bool run_classifier_gradients(const ClassifierLoss& loss, const ClassifierGradients& gradients) noexcept {
    const std::int64_t rows = loss.x.rows(), depth = loss.x.cols(), classes = loss.weight.cols();
    const std::int64_t together = std::max(logits_together / classes / least_rows * least_rows, least_rows);
    const std::int64_t first = rows > together && depth > together ? std::min(rows, depth) : 0;
    const std::int64_t copied = first > 0 ? first * columns_copied(first, classes) : 0;
    const MatrixBuffer space(1, std::max(copied, std::min(together, rows - first) * classes), loss.element);
    const LossRows loss_rows(loss, std::max(first, together));
    const GradientSums sums(loss, gradients);
    if (!space || !loss_rows || !sums) return false;
    if (first > 0) {
        const Part logits(gradients.dweight.matrix(), 0, first, 0, classes);
        if (!loss_rows.take(logits, 0, first, 0, classes, true)) return false;
        if (!sums.take_in_place(first, space.matrix())) return false;
        if (first == rows) return true;
    }
    std::int64_t row = first;
    do {
        const std::int64_t count = std::min(together, rows - row);
        const Part logits(space.matrix(), count, classes);
        if (!loss_rows.take(logits, row, count, 0, classes, true) || !sums.take(logits, row, count))
            return false;
        row += count;
    } while (row < rows && goes_on());
    return row >= rows;
}

}  // namespace fastnorm
