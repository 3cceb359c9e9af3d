#include "plan/training.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plan/regularisers.h"

namespace fastnorm {

namespace {

// The elements of a matrix row by row without gaps, copied from where they lie or back to there: in squares,
// so that the lines of both sides stay in the cache.
template <std::size_t size, bool returns>
void move_elements(const View& matrix, char* packed) {
    constexpr std::int64_t side = 16;
    const std::int64_t rows = matrix.shape[0], cols = matrix.shape[1];
    for (std::int64_t i = 0; i < rows; i += side) {
        for (std::int64_t j = 0; j < cols; j += side) {
            for (std::int64_t r = i; r < std::min(i + side, rows); ++r) {
                char* place = matrix.data + r * matrix.strides[0] + j * matrix.strides[1];
                char* element = packed + (r * cols + j) * std::int64_t(size);
                char* const end = element + std::min(side, cols - j) * std::int64_t(size);
                for (; element < end; element += size, place += matrix.strides[1])
                    std::memcpy(returns ? place : element, returns ? element : place, size);
            }
        }
    }
}

template <bool returns>
void move_matrix(const View& matrix, void* packed) {
    char* const memory = static_cast<char*>(packed);
    const std::int64_t size = item_size(matrix.element);
    if (size == 2) return move_elements<2, returns>(matrix, memory);
    if (size == 4) return move_elements<4, returns>(matrix, memory);
    move_elements<8, returns>(matrix, memory);
}

}  // namespace

void Lesson::drop(double share) {
    MlpRows& task = network.task();
    task.dropped = dropped_levels(share);
    task.dropout_scale = dropout_scale(task.dropped);
}

void Lesson::run(
    const std::int64_t* order, std::int64_t start, std::int64_t count, std::int64_t step
) noexcept {
    network.task().seed = seed + std::uint64_t(step);
    RowMatrix batch = x;
    if (!order) batch.data += start * x.row_stride;
    network.take_x(batch);
    network.task().order = loss.order = order ? order + start : nullptr;
    loss.start = order ? 0 : start;
    double total = double(count);
    if (loss.sample_weight) {
        total = 0;
        for (std::int64_t i = start; i < start + count; ++i)
            total += loss.sample_weight[order ? order[i] : i];
    }
    const double scale = 1 / total;
    loss.scale = std::isfinite(scale) ? scale : 0;
    network.pack();
    network.run(count);
}

void Lesson::merge(std::size_t i, void* gradient) noexcept {
    const double share = penalty * loss.scale;
    network.merge(i, penalty == 0 ? nullptr : &share, gradient);
}

double Lesson::mean_loss() const noexcept {
    const double data_loss = network.loss();
    return penalty == 0 ? data_loss : data_loss + 0.5 * penalty * loss.scale * network.squared_weights();
}

void Epoch::clip(double largest_norm) {
    max_norm = largest_norm;
    const Element element = compute_element(lesson.network.element());
    for (std::size_t i = 0; i < parameters.size(); ++i)
        clipped.push_back({lesson.network.gradient(i), parameters[i].size, element});
}

// State and gradient are row by row, whatever the order of the parameter.
void Epoch::update(std::size_t i) noexcept {
    const View view = lesson.network.parameter(i);
    if (view.contiguous) return update_parameter(rule, parameters[i]);
    OptimizedParameter moved = parameters[i];
    moved.data = lesson.network.merged_partials(i);
    move_matrix<false>(view, moved.data);
    update_parameter(rule, moved);
    move_matrix<true>(view, moved.data);
}

void Epoch::step() noexcept {
    Network& network = lesson.network;
    const std::int64_t rows = std::min(batch, count - done);
    lesson.run(order, done, rows, done / batch);
    if (!network.is_done()) {
        stopped = true;
        return;
    }
    if (rates) rule.lr = rates[done / batch];
    done += rows;
    if (lesson.loss.scale == 0) return;
    counted += rows;
    Poll* const poll = set_poll(nullptr);  // half an update is worse than a late one
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        lesson.merge(i, network.gradient(i));
        parameters[i].gradient = network.gradient(i);
        if (clipped.empty()) update(i);
    }
    if (!clipped.empty()) {
        clip_gradients(clipped, max_norm);
        for (std::size_t i = 0; i < parameters.size(); ++i) update(i);
    }
    total += lesson.mean_loss() * double(rows);
    set_poll(poll);
}

void Epoch::run(const std::chrono::steady_clock::duration* time) noexcept {
    using std::chrono::steady_clock;
    const steady_clock::time_point began = time ? steady_clock::now() : steady_clock::time_point{};
    do step();
    while (!stopped && done < count && (!time || steady_clock::now() - began < *time));
}

}  // namespace fastnorm
