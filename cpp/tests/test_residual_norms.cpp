// The kernels of the norms of a sum, as kernels.h tests them.
#include "kernels.h"

namespace {

// Runs the named norm of a sum forward and backward; every output must have been written.
Results run_norm(
    const KernelTable& table, const Shape& s, bool rms, bool has_weight, bool has_bias, bool has_sum
) {
    if (s.cols == 0) return {};  // no kernel runs on rows of nothing
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    const Rows rows = rows_of(s);
    TestArray x(s, size), residual(s, size), y(s, size), summed(s, size);
    TestArray dy(s, size), dsummed(s, size), dx(s, size), dresidual(s, size);
    fill(x, s, 1);
    fill(residual, s, 2);
    fill(dy, s, 3);
    fill(dsummed, s, 4);
    Guarded weight(std::size_t(s.cols * compute), s.at_end), bias(std::size_t(s.cols * compute), s.at_end);
    fill_parameters(weight, s.element, s.cols, 5);
    fill_parameters(bias, s.element, s.cols, 6);
    const void* const given_weight = has_weight ? weight.data() : nullptr;

    const std::int64_t scratch_bytes = 6 * packed_bytes(rows_of(s), size) +
                                       parameter_sums_bytes(s.cols, compute) +
                                       summed_bytes(s.rows, s.cols, compute);
    Guarded scratch(std::size_t((scratch_bytes + 63) / 64 * 64), true);
    const Operand absent{nullptr, nullptr, nullptr, true};
    const NormForward forward{
        rows, x.operand(s), y.operand(s), given_weight, has_bias ? bias.data() : nullptr,
        1e-5, s.cols,       nullptr,      nullptr,      s.stream
    };
    AddNormForward sum{forward, residual.operand(s), has_sum ? summed.operand(s) : absent, false, 2.5};
    auto* const forward_kernel = (rms ? table.add_rms_norm_forward : table.add_layer_norm_forward)[e];
    forward_kernel(sum, 0, s.rows, scratch.data());
    Results results;
    results.outputs = {elements(y, s), has_sum ? elements(summed, s) : std::string()};

    const std::int64_t block_rows = 32, blocks = (s.rows + block_rows - 1) / block_rows;
    Guarded dweight_partials(std::size_t(blocks * s.cols * 8), s.at_end),
        dbias_partials(std::size_t(blocks * s.cols * 8), s.at_end);
    const NormBackward backward{
        rows,
        dy.operand(s),
        x.operand(s),
        dx.operand(s),
        given_weight,
        1e-5,
        s.cols,
        nullptr,
        nullptr,
        s.stream,
        block_rows,
        has_weight || has_bias ? reinterpret_cast<double*>(dweight_partials.data()) : nullptr,
        has_weight || has_bias ? reinterpret_cast<double*>(dbias_partials.data()) : nullptr
    };
    AddNormBackward gradient{
        backward, residual.operand(s), has_sum ? dsummed.operand(s) : absent, dresidual.operand(s), 2.5
    };
    auto* const backward_kernel = (rms ? table.add_rms_norm_backward : table.add_layer_norm_backward)[e];
    backward_kernel(gradient, 0, blocks, scratch.data());
    results.outputs.push_back(elements(dx, s));
    results.outputs.push_back(elements(dresidual, s));
    if (has_weight || has_bias) {
        results.outputs.push_back(dweight_partials.content());
        results.outputs.push_back(dbias_partials.content());
    }
    if (has_sum) {
        // The loss depends on the sum alone.
        gradient.norm.dy.data = nullptr;
        backward_kernel(gradient, 0, blocks, scratch.data());
        CHECK(elements(dx, s) == elements(dsummed, s));
        results.outputs.push_back(elements(dresidual, s));
        // The sum takes the place of x: the same y.
        sum.summed = x.operand(s);
        sum.replaces = true;
        sum.norm.stream = false;
        forward_kernel(sum, 0, s.rows, scratch.data());
        CHECK(elements(y, s) == results.outputs[0]);
        CHECK(elements(x, s) == results.outputs[1]);
    }
    return results;
}

}  // namespace

int main() {
    for (const bool rms : {false, true}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            const bool has_weight = (s.cols / 2) % 2 == 0 || s.rows == 6;
            const bool has_bias = !rms && (s.cols % 2 == 0 || s.rows == 37);
            return run_norm(table, s, rms, has_weight, has_bias, s.cols % 3 != 0);
        });
    }
    return check::report();
}
