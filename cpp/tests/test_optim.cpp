// The kernels of the optimisers and of clipping, as kernels.h tests them: parameters, gradients and state end
// at a page that is not touched.
#include "kernels.h"
#include "plan/optim.h"

namespace {

// Normal numbers, drawn once.
double drawn(std::int64_t i, int salt) {
    static const std::vector<double> numbers = [] {
        std::vector<double> all;
        for (int k = 0; k < 997; ++k) all.push_back(value_at(k, 1));
        return all;
    }();
    return numbers[std::size_t(i + 131 * salt) % numbers.size()];
}

Results run_optimizer(const KernelTable& table, const Shape& s, Optimizer kind, bool plain, bool wide) {
    const std::int64_t count = s.rows * s.cols, size = item_size(s.element),
                       wide_size = compute_size(s.element);
    const Element compute = s.element == Element::float64 ? Element::float64 : Element::float32;
    const int e = int(s.element);
    Guarded parameter(std::size_t(count * size), s.at_end);
    Guarded gradient(std::size_t(count * (wide ? wide_size : size)), true);
    Guarded first(std::size_t(count * wide_size), s.at_end), second(std::size_t(count * wide_size), true);
    Guarded third(std::size_t(count * wide_size), s.at_end);
    for (std::int64_t j = 0; j < count; ++j) {
        put(s.element, parameter.data() + j * size, drawn(j, 1));
        put(wide ? compute : s.element, gradient.data() + j * (wide ? wide_size : size), drawn(j, 2));
        put(compute, first.data() + j * wide_size, drawn(j, 3));
        put(compute, second.data() + j * wide_size, 0.5 + drawn(j, 4) * drawn(j, 4));
        put(compute, third.data() + j * wide_size, drawn(j, 5));
    }
    if (kind == Optimizer::adam) {
        const AdamUpdate task{
            parameter.data(),  gradient.data(),  wide, first.data(), second.data(), 0.9, 0.99, 0.1, 1.5, 1e-3,
            plain ? 0.0 : 0.2, plain ? 1.0 : 0.8
        };
        table.adam_update[e](task, 0, count, nullptr);
    } else if (kind == Optimizer::sgd) {
        const SgdUpdate task{
            parameter.data(),  gradient.data(), wide, plain ? nullptr : first.data(), 0.1, 0.9,
            plain ? 0.0 : 0.2, !plain && wide
        };
        table.sgd_update[e](task, 0, count, nullptr);
    } else if (kind == Optimizer::rmsprop) {
        const RmspropUpdate task{
            parameter.data(),
            gradient.data(),
            wide,
            second.data(),
            plain ? nullptr : first.data(),
            plain && wide ? nullptr : third.data(),
            0.1,
            0.9,
            0.8,
            1e-3,
            plain ? 0.0 : 0.2
        };
        table.rmsprop_update[e](task, 0, count, nullptr);
    } else {
        const LionUpdate task{parameter.data(), gradient.data(), wide, first.data(), 0.1, 0.9, 0.99,
                              plain ? 1.0 : 0.8};
        table.lion_update[e](task, 0, count, nullptr);
    }
    return {{parameter.content(), first.content(), second.content(), third.content()}};
}

// The squares of a gradient of some blocks, and the gradient scaled.
Results run_clipping(const KernelTable& table, const Shape& s) {
    const std::int64_t count = s.rows * s.cols, size = item_size(s.element);
    const int e = int(s.element);
    Results results;
    for (const std::int64_t length : {count, 2 * norm_block + count}) {
        const std::int64_t units = (length + norm_block - 1) / norm_block;
        Guarded gradient(std::size_t(length * size), s.at_end), squares(std::size_t(units * 8), true);
        for (std::int64_t j = 0; j < length; ++j) put(s.element, gradient.data() + j * size, drawn(j, 1));
        table.gradient_squares[e](
            {gradient.data(), length, 0.5, reinterpret_cast<double*>(squares.data())}, 0, units, nullptr
        );
        table.scale_gradient[e]({gradient.data(), 0.3}, 0, length, nullptr);
        results.outputs.push_back(gradient.content());
        results.outputs.push_back(squares.content());
    }
    return results;
}

}  // namespace

int main() {
    compare_all(run_clipping);
    for (const Optimizer kind : {Optimizer::sgd, Optimizer::adam, Optimizer::rmsprop, Optimizer::lion}) {
        for (const bool plain : {false, true}) {
            compare_all([&](const KernelTable& table, const Shape& s) {
                return run_optimizer(table, s, kind, plain, s.rows % 2 == 0);
            });
        }
    }
    return check::report();
}
