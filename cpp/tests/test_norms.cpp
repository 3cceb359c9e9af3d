// The kernels of layer_norm and rms_norm, as kernels.h tests them.
#include "kernels.h"

namespace {

// Runs the named norm forward and backward; every output must have been written.
Results run_norm(const KernelTable& table, const Shape& s, bool rms, bool has_weight, bool has_bias) {
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    Rows rows{s.rows, s.cols, 1, 1, &s.rows, &s.cols};
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 1);
    fill(dy, s, 2);
    Guarded weight(std::size_t(s.cols * compute), s.at_end), bias(std::size_t(s.cols * compute), s.at_end);
    fill_parameters(weight, s.element, s.cols, 3);
    fill_parameters(bias, s.element, s.cols, 4);
    Guarded mean(std::size_t(s.rows * compute), s.at_end), rstd(std::size_t(s.rows * compute), s.at_end);
    const std::int64_t counted = rms ? (s.cols + 1) / 2 : s.cols;

    const std::int64_t scratch_bytes = 3 * packed_bytes(s.cols, size) + parameter_sums_bytes(s.cols, compute);
    Guarded scratch(std::size_t((scratch_bytes + 63) / 64 * 64), true);
    NormForward forward{
        rows,
        x.operand(s),
        y.operand(s),
        has_weight ? weight.data() : nullptr,
        has_bias ? bias.data() : nullptr,
        1e-5,
        counted,
        rms ? nullptr : mean.data(),
        rstd.data(),
        s.stream
    };
    if (rms) forward.mean = nullptr;
    (rms ? table.rms_norm_forward : table.layer_norm_forward)[e](forward, 0, s.rows, scratch.data());

    const std::int64_t block_rows = 32, blocks = (s.rows + block_rows - 1) / block_rows;
    Guarded dweight_partials(std::size_t(blocks * s.cols * 8), s.at_end),
        dbias_partials(std::size_t(blocks * s.cols * 8), s.at_end);
    Guarded dweight(std::size_t(s.cols * compute), s.at_end), dbias(std::size_t(s.cols * compute), s.at_end);
    const bool accumulate = has_weight || has_bias;
    NormBackward backward{
        rows,
        dy.operand(s),
        x.operand(s),
        dx.operand(s),
        forward.weight,
        1e-5,
        counted,
        rms ? nullptr : mean.data(),
        rstd.data(),
        s.stream,
        block_rows,
        accumulate ? reinterpret_cast<double*>(dweight_partials.data()) : nullptr,
        accumulate ? reinterpret_cast<double*>(dbias_partials.data()) : nullptr
    };
    auto* backward_kernel = (rms ? table.rms_norm_backward : table.layer_norm_backward)[e];
    backward_kernel(backward, 0, blocks, scratch.data());
    Results results;
    results.outputs = {elements(y, s), elements(dx, s), rms ? std::string() : mean.content(), rstd.content()};
    if (accumulate) {
        const PartialSums weight_sums{backward.dweight_partials, blocks, s.cols, dweight.data()};
        const PartialSums bias_sums{backward.dbias_partials, blocks, s.cols, dbias.data()};
        table.sum_partials[e](weight_sums, 0, s.cols, nullptr);
        table.sum_partials[e](bias_sums, 0, s.cols, nullptr);
        results.outputs.push_back(dweight.content());
        results.outputs.push_back(dbias.content());
    }
    // Without statistics the backward computes those of the forward: the same bits.
    backward.mean = backward.rstd = nullptr;
    backward_kernel(backward, 0, blocks, scratch.data());
    CHECK(elements(dx, s) == results.outputs[1]);
    return results;
}

}  // namespace

int main() {
    for (const bool rms : {false, true}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            const bool has_weight = (s.cols / 2) % 2 == 0 || s.rows == 6, has_bias = s.cols % 2 == 0 || s.rows == 37;
            return run_norm(table, s, rms, has_weight, has_bias);
        });
    }
    return check::report();
}
