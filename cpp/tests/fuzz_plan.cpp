// Fuzz target: bytes choose an op, shapes, layouts and options; it is planned and run on memory that fits
// exactly, once in that layout on threads and once in C order on one thread. Both must give the same bits,
// write every element of the results and nothing else, and leave the inputs alone.
#include <string>
#include <vector>

#include "fuzz_elements.h"
#include "fuzz_products.h"
#include "fuzz_rows.h"
#include "runtime/pool.h"

namespace {

// Arrays without elements but with as many rows or columns as there are addresses: no size may overflow.
void endless(Run& run) {
    Shape shape, strides;
    const Element element = run.source.element();
    std::int64_t size = 1;
    for (int i = 0, ndim = int(1 + run.source.below(5)); i < ndim; ++i) {
        std::int64_t length = std::int64_t(1) << run.source.below(49);
        if (length > (std::int64_t(1) << 48) / size) length = 1;
        size *= length;
        shape.push_back(length);
        strides.push_back(item_size(element));
    }
    shape[std::size_t(run.source.below(std::int64_t(shape.size())))] = 0;
    const View x{nullptr, element, int(shape.size()), shape.data(), strides.data(), true};
    const Axes axes = run.source.axes(x.ndim);
    Axes last;
    last.axis[last.count++] = x.ndim - 1;
    const std::int64_t cols = x.shape[x.ndim - 1];
    const View* const all[] = {&x, &x};
    Geometry geometry;
    geometry.set_norm(all, 2, axes);
    if (geometry.rows.rows != 0 && geometry.rows.cols != 0) fail("elements where there are none");
    NormForward norm;
    plan_norm_forward(norm, geometry, x, x, axes, true);
    NormBackward backward;
    plan_norm_backward(backward, geometry, x, x, x, axes, true);
    SoftmaxForward softmax;
    plan_softmax_forward(softmax, geometry, x, x, last, true);
    ClassLoss loss = {};
    if (cols > 0) plan_class_loss(loss, geometry, x, &x, nullptr, last, true);
    Elementwise each = {};
    const View pair[] = {x, x};
    if (plan_elementwise(each, geometry, pair, 1, 1, true, 1).units != 0) fail("segments of nothing");
    const MatrixView matrix(x, element);
    if (matrix.rows() != 0 && matrix.cols() != 0) fail("elements where there are none");
}

using Op = void (*)(Run&);
constexpr Op ops[] = {norm_forward, norm_backward, sum_norm, soft_maximum, class_loss, elements, element_loss,
                      channel_norm, moments,       dense,    attend,       train,      embed,    endless};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Source source(data, size);
    static const std::vector<std::string> targets = available_targets();
    set_target(targets[std::size_t(source.below(std::int64_t(targets.size())))]);
    const Op op = source.one_of(ops);
    std::uint64_t digests[2];
    for (const bool plain : {false, true}) {
        set_num_threads(plain ? 1 : 3);
        Run run{source, plain};
        op(run);
        digests[plain] = run.digest;
    }
    if (check::failed > 0) fail("a call writes before or behind an array");
    if (digests[0] != digests[1]) fail("other bits in another layout");
    return 0;
}
