// The kernel of rotary_embedding, as kernels.h tests kernels, over pairs of both kinds that fill rows or not.
#include "kernels.h"

namespace {

Results turn(const KernelTable& kernels, const Shape& s, bool neighbours, std::int64_t pairs) {
    const std::int64_t size = item_size(s.element), table_size = compute_size(s.element);
    const TestArray x(s, size), y(s, size);
    fill(x, s, 1);
    const Element element = s.element == Element::float64 ? Element::float64 : Element::float32;
    const std::int64_t bytes = s.rows * pairs * table_size, stride = pairs * table_size;
    const Guarded cosines(std::size_t(bytes), s.at_end), sines(std::size_t(bytes), s.at_end);
    for (std::int64_t i = 0; i < s.rows * pairs; ++i) {
        put(element, cosines.data() + i * table_size, value_at(i, 2));
        put(element, sines.data() + i * table_size, value_at(i, 3));
    }
    const Rotation task{rows_of(s),   x.operand(s), y.operand(s), cosines.data(),
                        sines.data(), &stride,      pairs,        neighbours ? -1.0 : 1.0,
                        neighbours,   s.stream};
    std::vector<char> scratch(std::size_t(2 * packed_bytes(task.shape, size)));
    kernels.rotary_embedding[int(s.element)](task, s.rows / 2, s.rows, scratch.data());
    kernels.rotary_embedding[int(s.element)](task, 0, s.rows / 2, scratch.data());
    return {{elements(y, s)}};
}

}  // namespace

int main() {
    for (const bool neighbours : {false, true}) {
        compare_all([=](const KernelTable& kernels, const Shape& s) {
            return turn(kernels, s, neighbours, s.cols / 2);
        });
        compare_all([=](const KernelTable& kernels, const Shape& s) {
            return turn(kernels, s, neighbours, s.cols / 3);
        });
    }
    return check::report();
}
