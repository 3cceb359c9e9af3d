// The kernels of layer_norm and rms_norm, as kernels.h tests them.
#include <algorithm>

#include "kernels.h"

namespace {

// Runs the named norm forward and backward; every output must have been written.
Results run_norm(const KernelTable& table, const Shape& s, bool rms, bool has_weight, bool has_bias) {
    if (s.cols == 0) return {};  // no kernel runs on rows of nothing
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    const Rows rows = rows_of(s);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 1);
    fill(dy, s, 2);
    Guarded weight(std::size_t(s.cols * compute), s.at_end), bias(std::size_t(s.cols * compute), s.at_end);
    fill_parameters(weight, s.element, s.cols, 3);
    fill_parameters(bias, s.element, s.cols, 4);
    Guarded mean(std::size_t(s.rows * compute), s.at_end), rstd(std::size_t(s.rows * compute), s.at_end);
    const std::int64_t counted = rms ? (s.cols + 1) / 2 : s.cols;

    const std::int64_t scratch_bytes =
        3 * packed_bytes(rows_of(s), size) +
        std::max(parameter_sums_bytes(s.cols, compute), whole_parameters_bytes(rows_of(s), compute));
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

// layer_norm over the channels of images: rows are (image, position), neighbours within an image, and columns
// lie along two axes, which cannot be walked as one. Strips of every target are broken by the ends of images,
// tiles and columns.
std::string run_over_channels(
    const KernelTable& table, const Shape& s, std::int64_t images, bool contiguous
) {
    const std::int64_t size = item_size(s.element), positions = s.rows, half = s.cols / 2, gap = 3;
    const std::int64_t along = positions + gap, apart = half * along + gap;
    const std::int64_t outer[] = {images, positions}, inner[] = {2, half};
    const std::int64_t outer_stride[] = {
        contiguous ? positions * s.cols * size : 2 * apart * size, contiguous ? s.cols * size : size
    };
    const std::int64_t inner_stride[] = {
        contiguous ? half * size : apart * size, contiguous ? size : along * size
    };
    const auto offset = [&](std::int64_t image, std::int64_t position, std::int64_t j) {
        return image * outer_stride[0] + position * outer_stride[1] + j / half * inner_stride[0] +
               j % half * inner_stride[1];
    };
    const std::size_t bytes = std::size_t(offset(images - 1, positions - 1, s.cols - 1) + size);
    const Rows rows =
        rows_of(images * positions, s.cols, *outer, contiguous ? s.cols : *inner, 2, contiguous ? 1 : 2);
    const Guarded x(bytes, s.at_end), y(bytes, s.at_end),
        scratch(
            std::size_t(2 * packed_bytes(rows, size) + whole_parameters_bytes(rows, compute_size(s.element))),
            true
        );
    const auto each = [&](auto body) {
        for (std::int64_t image = 0; image < images; ++image) {
            for (std::int64_t position = 0; position < positions; ++position) {
                for (std::int64_t j = 0; j < s.cols; ++j) body(offset(image, position, j));
            }
        }
    };
    std::int64_t index = 0;
    each([&](std::int64_t at) { put(s.element, x.data() + at, value_at(index++, 1)); });
    const std::int64_t* strides = contiguous ? &size : inner_stride;
    NormForward task = {};
    task.shape = rows;
    task.x = {x.data(), outer_stride, strides, contiguous};
    task.y = {y.data(), outer_stride, strides, contiguous};
    task.eps = 1e-5;
    task.counted = s.cols;
    table.layer_norm_forward[int(s.element)](task, 0, rows.rows, scratch.data());
    std::string results;
    each([&](std::int64_t at) { results.append(y.data() + at, std::size_t(size)); });
    // What lies between the elements is untouched.
    std::string between = y.content();
    each([&](std::int64_t at) {
        between.replace(std::size_t(at), std::size_t(size), std::string(std::size_t(size), '\xff'));
    });
    CHECK(between.find_first_not_of('\xff') == std::string::npos);
    return results;
}

void test_over_channels() {
    for (const Element element : {Element::float32, Element::float64, Element::float16, Element::bfloat16}) {
        for (const std::int64_t cols : {2, 6, 16, 30, 66}) {
            for (const std::int64_t positions : {1, 2, 7, 9, 16, 21, 49}) {
                const Shape s{positions, cols, element, Layout::contiguous, positions % 2 == 0, false};
                const std::string expected = run_over_channels(scalar::kernel_table(), s, 3, true);
                CHECK(run_over_channels(scalar::kernel_table(), s, 3, false) == expected);
                for (const std::string& name : available_targets()) {
                    set_target(name);
                    const std::string packed = run_over_channels(kernels(), s, 3, false);
                    CHECK(
                        packed == (is_fused(kernels()) ? expected : run_over_channels(kernels(), s, 3, true))
                    );
                }
            }
        }
    }
}

}  // namespace

int main() {
    test_over_channels();
    for (const bool rms : {false, true}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            const bool has_weight = (s.cols / 2) % 2 == 0 || s.rows == 6,
                       has_bias = s.cols % 2 == 0 || s.rows == 37;
            return run_norm(table, s, rms, has_weight, has_bias);
        });
    }
    return check::report();
}
