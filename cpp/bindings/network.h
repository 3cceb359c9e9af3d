// The layers of a network as a call is given them, and their way through the kernels.
#pragma once

#include <vector>

#include "bindings/products.h"
#include "tasks/mlp.h"

namespace fastnorm {

// A matrix of rows in memory.
struct RowMatrix {
    const char* data;
    std::int64_t rows, cols, row_stride, col_stride;
};

// An array seen as (rows, last axis), copied where no two strides describe it.
std::optional<RowMatrix> as_rows(const Array& array, Reference& copy);

// The layers, and one block of memory for all that a call needs beside its arguments and results.
class Network {
public:
    // False where the arguments are not canonical.
    bool recognise(
        const Array& x, PyObject* weights, PyObject* biases, PyObject* activation, PyObject* output_activation
    );

    // Takes the memory for batches of `rows`, on as many threads as they are worth. False with no error set
    // where there is none.
    bool reserve(std::int64_t rows, bool backward, bool wants_dx, double steps = 1);

    // Copies the parameters, as they are now, to where the kernels read them.
    void pack();

    // Rows through the network; the caller has set x and what is wanted in task().
    void run(std::int64_t rows);

    // The gradient of a parameter from the last run, contiguous at `gradient`.
    void merge(std::size_t i, double penalty, void* gradient);

    double loss() const;

    // Sum of the squared weights, as they were packed.
    double squared_weights() const;

    MlpRows& task() { return task_; }
    void take_x(const RowMatrix& x) {
        task_.x = x.data;
        task_.x_row_stride = x.row_stride;
        task_.x_col_stride = x.col_stride;
    }
    double microseconds() const { return microseconds_; }
    std::int64_t outputs() const { return layers_.back().out; }
    std::size_t layer_count() const { return layers_.size(); }
    bool has_biases() const { return has_biases_; }
    bool has_bias(std::size_t l) const { return has_biases_ && bias_of_[l] >= 0; }
    std::size_t bias_index(std::size_t l) const { return std::size_t(bias_of_[l]); }
    const std::vector<Array>& parameters() const { return parameters_; }
    void* gradient(std::size_t i) { return at(gradients_at_ + gradient_at_[i]); }
    Element element() const { return element_; }

private:
    bool is_parameter(const Array& array) const;
    static std::int64_t group_count(std::int64_t rows) {
        const std::int64_t in_group = mlp_group_rows(rows);
        return (rows + in_group - 1) / in_group;
    }
    void* at(std::int64_t element) const { return static_cast<char*>(memory_->data()) + element * size_; }
    void copy_matrix(
        const Array& source, std::int64_t rows, std::int64_t cols, std::int64_t row_stride,
        std::int64_t col_stride, const void* panels
    ) const;

    Element element_ = Element::float32;
    std::int64_t size_ = 4;
    bool has_biases_ = false, backward_ = false;
    std::vector<MlpLayer> layers_;
    std::vector<Array> parameters_;  // the weights, then the biases there are
    std::vector<int> bias_of_;       // by layer: its bias among the parameters, or -1
    struct Place {
        std::int64_t weight, transposed, bias;  // transposed: -1 where it is not needed
    };
    std::vector<Place> places_;  // by layer, in memory_
    std::vector<std::int64_t> gradient_at_;
    std::int64_t partial_elements_ = 0, slot_elements_ = 0, partials_at_ = 0, gradients_at_ = 0,
                 scratch_at_ = 0;
    int threads_ = 1;
    double microseconds_ = 0;
    double* losses_ = nullptr;
    MlpRows task_ = {};
    std::optional<Buffer> memory_;
};

}  // namespace fastnorm
