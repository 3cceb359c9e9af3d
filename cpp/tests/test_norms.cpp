// The kernels of layer_norm, rms_norm and normalize, as kernels.h tests them.
#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace {

enum class Norm { layer, rms, unit };

// Runs the named norm forward and backward on what fill(array, shape, salt) writes; every output must have
// been written.
template <class Fill>
Results run_norm(
    const KernelTable& table, const Shape& s, Norm norm, bool has_weight, bool has_bias, Fill fill
) {
    const bool rms = norm != Norm::layer, unit = norm == Norm::unit;
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
    const std::int64_t counted = norm == Norm::rms ? (s.cols + 1) / 2 : s.cols;

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
    forward.unit_length = unit;
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
        unit ? nullptr : rstd.data(),
        s.stream,
        block_rows,
        accumulate ? reinterpret_cast<double*>(dweight_partials.data()) : nullptr,
        accumulate ? reinterpret_cast<double*>(dbias_partials.data()) : nullptr
    };
    backward.unit_length = unit;
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

// Kinds of rows, told apart by how they are taken where there are few columns.
enum class Kind {
    plain,    // one in three is far from 0
    simple,   // constant, -0, equal but for one element, a million deviations from 0
    special,  // plain, but for a few that are not finite, overflow or vanish
    count
};

double few_value(Kind kind, std::int64_t row, std::int64_t col, int salt) {
    std::uint64_t bits = std::uint64_t(row * 1009 + col * 31 + salt) * 0x9e3779b97f4a7c15u;
    bits = (bits ^ bits >> 29) * 0xbf58476d1ce4e5b9u;
    const double uniform = double(bits >> 11) * 0x1p-52 - 1;
    const double rare[] = {HUGE_VAL, std::nan(""), 1e38, 1e-42, -0.0};
    switch (kind) {
        case Kind::simple: {
            const double level = 1 + double(row % 7);
            if (row % 4 == 0) return level;
            if (row % 4 == 1) return -0.0;
            return row % 4 == 2 ? level + double(col == row % 5) : 1e6 * level + uniform;
        }
        case Kind::special:
            if (row % 19 == 11 && col % 3 == 0) return rare[(row / 19 + salt) % 5];
            return uniform;
        default:
            return uniform + double(row % 3 == 0) * 1000;
    }
}

// Rows of few columns that are taken together have the bits of those that are taken one by one, which a
// layout with spread elements is.
void test_few_columns() {
    const Targets targets;
    std::vector<const KernelTable*> tables = targets.fused;
    tables.push_back(&scalar::kernel_table());
    for (const Element element : elements_of_kernels) {
        for (std::int64_t cols = 1; cols <= 34; ++cols) {
            for (std::int64_t rows = 1; rows <= 70; rows += rows >= 30 && rows < 50 ? 1 : 10) {
                const Kind kind = Kind((rows + cols / 3) % int(Kind::count));
                const auto fill = [&](const TestArray& array, const Shape& s, int salt) {
                    for (std::int64_t r = 0; r < s.rows; ++r) {
                        for (std::int64_t j = 0; j < s.cols; ++j)
                            put(s.element, array.at(r, j), few_value(kind, r, j, salt));
                    }
                };
                for (const KernelTable* table : tables) {
                    for (const Norm norm : {Norm::layer, Norm::rms, Norm::unit}) {
                        const auto run = [&](Layout layout) {
                            const Shape s{rows, cols, element, layout, (rows + cols) % 2 == 0, false};
                            return run_norm(*table, s, norm, cols % 3 != 0, cols % 2 == 0, fill);
                        };
                        const Results expected = run(Layout::spread);
                        CHECK(run(Layout::contiguous) == expected);
                        CHECK(run(Layout::neighbouring_rows) == expected);
                    }
                }
            }
        }
    }
}

}  // namespace

int main() {
    test_few_columns();
    test_over_channels();
    for (const Norm norm : {Norm::layer, Norm::rms, Norm::unit}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            const bool has_weight = (s.cols / 2) % 2 == 0 || s.rows == 6,
                       has_bias = s.cols % 2 == 0 || s.rows == 37;
            return run_norm(
                table, s, norm, has_weight, has_bias,
                [](const TestArray& array, const Shape& shape, int salt) { fill(array, shape, salt); }
            );
        });
    }
    return check::report();
}
