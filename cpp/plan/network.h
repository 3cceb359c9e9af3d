// A network of dense layers: where all that a call needs lies in one block of memory, and its rows' way
// through the kernels.
#pragma once

#include <optional>
#include <vector>

#include "plan/run.h"
#include "plan/training_losses.h"
#include "plan/view.h"
#include "tasks/mlp.h"

namespace fastnorm {

// A matrix of rows in memory.
struct RowMatrix {
    const char* data;
    std::int64_t rows, cols, row_stride, col_stride;
};

// What is wanted of a network: its output alone, or gradients too, given those of the output or a loss.
struct NetworkUse {
    bool backward = false;
    bool wants_dx = false;
    const TrainingLoss* loss = nullptr;
};

// Built by add_layer and add_bias, then reserved, which may throw std::bad_alloc; from there on nothing is
// allocated.
class Network {
public:
    // Compute sizes follow from the element type of x; `has_biases`: some layer may have one.
    void start(Element element, bool has_biases, std::size_t layers);
    void add_layer(const View& weight, Activation activation);
    void add_bias(std::size_t layer, const View& bias);  // after all layers

    // Takes the memory for batches of `rows`, on as many threads as they are worth. False where there is
    // none.
    bool reserve(std::int64_t rows, const NetworkUse& use);

    // Copies the parameters, as they are now, to where the kernels read them.
    void pack() noexcept;

    // Rows through the network; the caller has set x and what is wanted in task(). False, as is_done() then,
    // where the poll of the thread has stopped it.
    bool run(std::int64_t rows) noexcept;
    bool is_done() const { return done_; }

    // The gradient of a parameter from the last run, contiguous at `gradient`; of a weight with `penalty`
    // times the weight, if that is not null.
    void merge(std::size_t i, const double* penalty, void* gradient) noexcept;

    // Of the rows of the last run.
    double loss() const noexcept;

    // Sum of the squared weights, each as it was when it was merged with a penalty.
    double squared_weights() const noexcept;

    MlpRows& task() { return task_; }
    void take_x(const RowMatrix& x) {
        task_.x = x.data;
        task_.x_row_stride = x.row_stride;
        task_.x_col_stride = x.col_stride;
    }
    // What packing, a run and merging take one thread.
    double nanoseconds() const { return nanoseconds_ + copy_nanoseconds_; }
    int threads() const { return threads_; }
    std::int64_t slot_bytes() const { return slot_elements_ * size_; }
    std::int64_t memory_bytes() const { return memory_bytes_; }
    std::int64_t outputs() const { return layers_.back().out; }
    const std::vector<MlpLayer>& layers() const { return layers_; }
    bool has_biases() const { return has_biases_; }
    bool has_bias(std::size_t l) const { return places_[l].bias_index >= 0; }
    std::size_t bias_index(std::size_t l) const { return std::size_t(places_[l].bias_index); }
    // The weights, then the biases there are.
    std::size_t parameter_count() const { return parameters_.size(); }
    View parameter(std::size_t i) const {
        const Parameter& p = parameters_[i];
        return {p.data, p.element, p.ndim, p.shape, p.strides, p.contiguous, p.in_panels};
    }
    void* gradient(std::size_t i) { return at(gradients_at_ + parameters_[i].gradient); }
    // The partial sums of a weight, which are free once it is merged: memory for its elements.
    void* merged_partials(std::size_t i) { return at(partials_at_ + layers_[i].dweight); }
    Element element() const { return element_; }

private:
    bool is_read_in_place(std::size_t layer, std::int64_t rows, const NetworkUse& use) const;
    void place_parameters(std::int64_t rows, const NetworkUse& use);
    void run_group(std::int64_t group, void* scratch) noexcept;
    std::int64_t merge_units(std::size_t l) const;
    std::int64_t units(std::int64_t rows) const;
    void* at(std::int64_t element) const { return static_cast<char*>(memory_->data()) + element * size_; }
    void copy_matrix(
        const View& source, std::int64_t rows, std::int64_t cols, std::int64_t row_stride,
        std::int64_t col_stride, const void* panels
    ) const noexcept;

    Element element_ = Element::float32;
    std::int64_t size_ = 4;
    bool has_biases_ = false, backward_ = false, done_ = false;
    const TrainingLoss* loss_ = nullptr;
    std::vector<MlpLayer> layers_;
    // All places count elements of the compute type.
    struct Parameter {
        explicit Parameter(const View& view);

        char* data;
        Element element;
        int ndim;
        bool contiguous, in_panels;
        std::ptrdiff_t shape[2], strides[2];
        std::int64_t gradient = 0;  // from the first one's
    };
    std::vector<Parameter> parameters_;
    struct Place {
        int bias_index = -1;                                 // of the parameters, or none
        std::int64_t weight = 0, transposed = -1, bias = 0;  // transposed: -1 where it is not needed
        std::int64_t squares = 0;                            // of losses_
    };
    std::vector<Place> places_;  // by layer, in memory_
    std::int64_t packed_elements_ = 0, partial_elements_ = 0;
    std::int64_t partials_at_ = 0, gradients_at_ = 0, scratch_at_ = 0;
    std::int64_t slot_elements_ = 0, loss_scratch_at_ = 0;  // the latter within a slot
    std::int64_t memory_bytes_ = 0;
    int threads_ = 1;
    double nanoseconds_ = 0, copy_nanoseconds_ = 0;
    double* losses_ = nullptr;  // of each group; then of each weight's units of merging the squares
    MlpRows task_ = {};
    std::optional<Buffer> memory_;
};

}  // namespace fastnorm
