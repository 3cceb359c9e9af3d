#include "plan/network.h"

#include <algorithm>
#include <cstring>

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a multiply-add in float32, packing and activations included; float64 takes twice as
// long.
constexpr double multiply_nanoseconds = 0.02;
constexpr double element_nanoseconds = 0.3;  // of an element that is packed or merged

std::int64_t block_count(std::int64_t rows) { return (rows + mlp_block_rows - 1) / mlp_block_rows; }

std::int64_t group_count(std::int64_t rows) {
    const std::int64_t in_group = mlp_group_rows(rows);
    return (rows + in_group - 1) / in_group;
}

// Whole lines of memory.
std::int64_t in_lines(std::int64_t elements) { return (elements + 15) / 16 * 16; }

}  // namespace

void Network::start(Element element, bool has_biases, std::size_t layers) {
    element_ = element;
    size_ = item_size(compute_element(element));
    has_biases_ = has_biases;
    layers_.reserve(layers);
    places_.reserve(layers);
    parameters_.reserve(2 * layers);
}

Network::Parameter::Parameter(const View& view)
    : data(view.data),
      element(view.element),
      ndim(view.ndim),
      contiguous(view.contiguous),
      in_panels(view.in_panels) {
    std::copy_n(view.shape, ndim, shape);
    std::copy_n(view.strides, ndim, strides);
}

void Network::add_layer(const View& weight, Activation activation) {
    MlpLayer layer = {};
    layer.in = weight.shape[0];
    layer.out = weight.shape[1];
    layer.activation = activation;
    layers_.push_back(layer);
    places_.emplace_back();
    parameters_.emplace_back(weight);
}

void Network::add_bias(std::size_t layer, const View& bias) {
    places_[layer].bias_index = int(parameters_.size());
    parameters_.emplace_back(bias);
}

std::int64_t Network::units(std::int64_t rows) const {
    return backward_ ? group_count(rows) : block_count(rows);
}

// Few rows do not make up for a copy of the weight: 1 row through three layers of 128 takes 3.4 us so and 9.0
// with copies, 4 rows 4.6 and 11, 16 rows 15 and 27 (float32, one Zen 4 core). Rows of whole cache lines have
// no columns that a tile would read beyond.
bool Network::is_read_in_place(std::size_t layer, std::int64_t rows, const NetworkUse& use) const {
    const View weight = parameter(layer);
    if (use.backward || rows > in_place_rows || weight.in_panels) return false;
    if (weight.element != compute_element(element_) || weight.strides[1] != size_) return false;
    const std::uintptr_t places =
        reinterpret_cast<std::uintptr_t>(weight.data) | std::uintptr_t(weight.strides[0]);
    return weight.strides[0] > 0 && are_multiples(places, size_) && weight.shape[1] * size_ % 64 == 0;
}

// Where packed parameters, partial sums of a group and gradients go.
void Network::place_parameters(std::int64_t rows, const NetworkUse& use) {
    task_.widest = mlp_step(layers_[0].in, size_);
    packed_elements_ = partial_elements_ = 0;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        MlpLayer& layer = layers_[l];
        const std::int64_t in = padded_cols(layer.in, size_), out = padded_cols(layer.out, size_);
        task_.widest = std::max(task_.widest, mlp_step(layer.out, size_));
        Place& place = places_[l];
        place.weight = packed_elements_;
        layer.weight_step = is_read_in_place(l, rows, use) ? parameters_[l].strides[0] / size_ : 0;
        if (!parameters_[l].in_panels && layer.weight_step == 0) packed_elements_ += layer.in * out;
        place.transposed = use.backward && (l > 0 || use.wants_dx) ? packed_elements_ : -1;
        if (place.transposed >= 0) packed_elements_ += layer.out * in;
        place.bias = packed_elements_;
        packed_elements_ += out;
        layer.dweight = partial_elements_;
        partial_elements_ += mlp_is_narrow(layer.in, layer.out, size_) ? layer.out * in : layer.in * out;
        layer.dbias = has_bias(l) ? partial_elements_ : -1;
        if (has_bias(l)) partial_elements_ += out;
    }
}

bool Network::reserve(std::int64_t rows, const NetworkUse& use) {
    backward_ = use.backward;
    loss_ = use.loss;
    place_parameters(rows, use);
    std::int64_t multiplications = 0, gradient_elements = 0;
    for (const MlpLayer& layer : layers_) multiplications += layer.in * layer.out * (use.backward ? 3 : 1);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        parameters_[i].gradient = gradient_elements;
        gradient_elements += in_lines(parameter(i).size());
    }
    nanoseconds_ = multiply_nanoseconds * double(size_ / 4) * double(multiplications) * double(rows);
    threads_ = std::max(1, threads_for({units(rows), 1, nanoseconds_, 0}));
    task_.layers = layers_.data();
    task_.count = std::int64_t(layers_.size());
    task_.rows = rows;
    task_.keeps = use.backward;
    loss_scratch_at_ = in_lines(mlp_scratch_elements(task_, size_, use.backward));
    slot_elements_ = loss_scratch_at_;
    if (loss_) slot_elements_ += in_lines(loss_scratch_bytes(*loss_, size_) / size_);

    const std::int64_t groups = group_count(rows);
    partials_at_ = packed_elements_;
    copy_nanoseconds_ = element_nanoseconds *
                        double(packed_elements_ + (use.backward ? (groups + 1) * partial_elements_ : 0));
    gradients_at_ = partials_at_ + (use.backward ? groups * partial_elements_ : 0);
    scratch_at_ = gradients_at_ + (use.backward ? gradient_elements : 0);
    const std::int64_t losses_at = scratch_at_ + threads_ * slot_elements_;
    std::int64_t doubles = groups;
    for (std::size_t l = 0; use.backward && l < layers_.size(); ++l) {
        places_[l].squares = doubles;
        doubles += merge_units(l);
    }
    memory_bytes_ = losses_at * size_ + doubles * std::int64_t(sizeof(double));
    memory_.emplace(std::size_t(memory_bytes_));
    if (!*memory_) return false;
    losses_ = static_cast<double*>(at(losses_at));
    return true;
}

void Network::pack() noexcept {
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        MlpLayer& layer = layers_[l];
        const View weight = parameter(l);
        const std::int64_t row_stride = weight.strides[0], col_stride = weight.strides[1];
        if (weight.in_panels || layer.weight_step > 0) {
            layer.weight = weight.data;
        } else {
            layer.weight = at(places_[l].weight);
            copy_matrix(weight, layer.in, layer.out, row_stride, col_stride, layer.weight);
        }
        if (places_[l].transposed >= 0) {
            layer.transposed = at(places_[l].transposed);
            copy_matrix(weight, layer.out, layer.in, col_stride, row_stride, layer.transposed);
        }
        if (!has_bias(l)) continue;
        const View bias = parameter(bias_index(l));
        layer.bias = at(places_[l].bias);
        copy_matrix(bias, 1, layer.out, 0, bias.strides[0], layer.bias);
    }
}

bool Network::run(std::int64_t rows) noexcept {
    task_.rows = rows;
    task_.group_rows = mlp_group_rows(rows);
    task_.partials = at(partials_at_);
    task_.partial_elements = partial_elements_;
    const Work work{units(rows), 1, nanoseconds_, slot_bytes()};
    const int threads = int(std::min<std::int64_t>(threads_, work.units));
    done_ =
        share_out(work, threads, at(scratch_at_), [&](std::int64_t begin, std::int64_t end, void* scratch) {
            if (!backward_) return kernels().mlp_forward[int(element_)](task_, begin, end, scratch);
            for (std::int64_t group = begin; group < end; ++group) run_group(group, scratch);
        });
    return done_;
}

// A group of rows, block by block, through the network and back; between the two, the loss of the outputs
// while they are in the cache.
void Network::run_group(std::int64_t group, void* scratch) noexcept {
    const auto forward = kernels().mlp_forward[int(element_)];
    const auto backward = kernels().mlp_backward[int(element_)];
    const std::int64_t blocks = task_.group_rows / mlp_block_rows, begin = group * blocks;
    const std::int64_t end = std::min(begin + blocks, block_count(task_.rows));
    const MlpOutputs outputs = mlp_outputs(task_, size_);
    char* const memory = static_cast<char*>(scratch);
    double loss = 0;
    for (std::int64_t block = begin; block < end; ++block) {
        forward(task_, block, block + 1, scratch);
        if (loss_) {
            OutputRows rows;
            rows.first = block * mlp_block_rows;
            rows.count = std::min(mlp_block_rows, task_.rows - rows.first);
            rows.step = outputs.step;
            rows.y = memory + outputs.y * size_;
            rows.dy = memory + outputs.dy * size_;
            std::memset(rows.dy, 0, std::size_t(rows.count * rows.step * size_));
            add_loss(*loss_, size_, rows, memory + loss_scratch_at_ * size_, loss);
        }
        backward(task_, block, block + 1, scratch);
    }
    losses_[group] = loss;
}

void Network::merge(std::size_t i, const double* penalty, void* gradient) noexcept {
    const bool is_weight = i < layers_.size();
    std::size_t l = i;
    for (std::size_t k = 0; !is_weight && k < layers_.size(); ++k) {
        if (places_[k].bias_index == int(i)) l = k;
    }
    const MlpLayer& layer = layers_[l];
    const View view = parameter(i);
    MlpMerge task = {};
    task.groups = group_count(task_.rows);
    task.partial_elements = partial_elements_;
    task.partials = at(partials_at_ + (is_weight ? layer.dweight : layer.dbias));
    task.rows = is_weight ? layer.in : 1;
    task.cols = layer.out;
    task.unit_rows = mlp_merge_rows(layer.out);
    task.row_step = padded_cols(layer.out, size_);
    task.col_step = 1;
    if (is_weight && mlp_is_narrow(layer.in, layer.out, size_)) {
        task.row_step = 1;
        task.col_step = padded_cols(layer.in, size_);
    }
    if (is_weight && penalty) {
        task.penalty = *penalty;
        task.parameter = view.data;
        task.row_stride = view.strides[0];
        task.col_stride = view.strides[1];
        task.squares = losses_ + places_[l].squares;
    }
    task.gradient = gradient;
    const std::int64_t units = is_weight ? merge_units(l) : 1;
    kernels().mlp_merge[int(view.element)](task, 0, units, nullptr);
}

double Network::loss() const noexcept {
    double sum = 0;
    for (std::int64_t g = 0; g < group_count(task_.rows); ++g) sum += losses_[g];
    return sum;
}

double Network::squared_weights() const noexcept {
    double sum = 0;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        for (std::int64_t unit = 0; unit < merge_units(l); ++unit) sum += losses_[places_[l].squares + unit];
    }
    return sum;
}

std::int64_t Network::merge_units(std::size_t l) const {
    const std::int64_t unit_rows = mlp_merge_rows(layers_[l].out);
    return (layers_[l].in + unit_rows - 1) / unit_rows;
}

void Network::copy_matrix(
    const View& source, std::int64_t rows, std::int64_t cols, std::int64_t row_stride,
    std::int64_t col_stride, const void* panels
) const noexcept {
    const WeightPanels task{rows, cols, source.data, row_stride, col_stride, const_cast<void*>(panels)};
    kernels().pack_weight[int(source.element)](task, 0, (rows + depth_block - 1) / depth_block, nullptr);
}

}  // namespace fastnorm
