#include "plan/regularisers.h"

#include "bindings/arrays.h"
#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/run.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

Outcome drop(PyObject* p, PyObject* seed, const Array& x, const Array& y, bool warm, Reference result) {
    Dropout task;
    Geometry geometry;
    const std::optional<double> share = as_number(p, 0);
    const std::optional<std::uint64_t> key = as_seed(seed);
    if (!share || *share >= 1 || !key) return not_canonical;
    if (!result) return finished(nullptr);
    const Work work = plan_dropout(task, geometry, x, y, *share, warm);
    task.seed = *key;
    if (work.units > 0 && !run_kernel(kernels().dropout[int(x.element)], task, work))
        return finished(nullptr);
    return finished(result.release());
}

struct DropoutArguments {
    FASTNORM_ARGUMENTS(x, p, seed, out)
};

Outcome dropout(const Call<DropoutArguments>& call) {
    const MaybeArray x = as_array(call.x);
    if (!x) return not_canonical;
    Result y = result_like(*x, out_of(call), {call.x});
    if (!y.canonical) return not_canonical;
    return drop(call.p, call.seed, *x, y.array, y.warm, std::move(y.object));
}

struct DropoutBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, p, seed)
    FASTNORM_IN_PLACE
};

// The mask is that of the forward, so the gradient is that of a product with it.
Outcome dropout_backward(const Call<DropoutBackwardArguments>& call) {
    const MaybeArray dy = as_array(call.dy), x = as_array(call.x);
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    NewArray fresh = new_like(*x);
    if (!fresh.array) return finished(nullptr);
    const Array dx(fresh.array.array(), x->element);
    return drop(call.p, call.seed, *dy, dx, fresh.warm, std::move(fresh.array));
}

}  // namespace

const NativeOp regulariser_ops[] = {
    FASTNORM_OP(dropout),
    FASTNORM_OP(dropout_backward),
    end_of_ops,
};

}  // namespace fastnorm
