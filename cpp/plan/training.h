// Training: steps of forward, loss, backward and update over the batches of an epoch.
#pragma once

#include <chrono>
#include <vector>

#include "plan/network.h"
#include "plan/optim.h"

namespace fastnorm {

// A network with what it is to learn.
struct Lesson {
    Network network;
    RowMatrix x;
    TrainingLoss loss;
    double penalty = 0;  // of half the squared weights, a row
    // Of what is dropped in the first step; the others count on from there.
    std::uint64_t seed = 0;

    // Takes the memory for batches of `rows`; as Network::reserve.
    bool reserve(std::int64_t rows) { return network.reserve(rows, {true, false, &loss}); }

    // Shares of hidden layers that are dropped in the steps that follow.
    void drop(double share);

    // Rows [start, start + count) of the order, or of x where it is null: forward, loss and backward, as the
    // step of that number. Where the weights of the rows sum to 0, loss.scale is 0.
    void run(
        const std::int64_t* order, std::int64_t start, std::int64_t count, std::int64_t step = 0
    ) noexcept;

    // After a run: the gradient of a parameter with that of the penalty, contiguous.
    void merge(std::size_t i, void* gradient) noexcept;

    // The loss with its penalty, once all gradients have been merged.
    double mean_loss() const noexcept;
};

// An epoch: `count` rows in steps of `batch`, each of which updates all parameters; a batch without weight is
// passed over.
struct Epoch {
    explicit Epoch(Lesson& taught) : lesson(taught) {}

    Lesson& lesson;
    OptimizerRule rule;
    std::vector<OptimizedParameter> parameters;  // those of the network, gradients aside
    const std::int64_t* order = nullptr;         // numbers of rows of x, or null: as they stand
    std::int64_t count = 0, batch = 0;
    const double* rates = nullptr;  // of each step, in the place of the rule's, or null
    std::int64_t done = 0;          // rows
    std::int64_t counted = 0;       // those of batches with a weight
    double total = 0;               // the sum of their losses
    bool stopped = false;           // by the poll of this thread, before an update

    double nanoseconds() const { return lesson.network.nanoseconds() * double(count) / double(batch); }

    // Steps until all rows are done, or it is stopped, or until a step ends later than `time` from now (null:
    // no limit).
    void run(const std::chrono::steady_clock::duration* time) noexcept;

    // Clips the gradients of all parameters, which are there by then, to a norm.
    void clip(double largest_norm);

    double loss() const { return counted ? total / double(counted) : 0; }

private:
    void step() noexcept;
    void update(std::size_t i) noexcept;

    double max_norm = 0;
    std::vector<GradientArray> clipped;  // empty: none are
};

}  // namespace fastnorm
