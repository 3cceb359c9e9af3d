#include <cmath>

#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/overlap.h"
#include "bindings/run.h"
#include "plan/attention.h"
#include "plan/regularisers.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// The arrays of plan/attention.h's Heads.
struct HeadArrays {
    MaybeArray query, keys, values;
    bool one_query = false;
    Causality causality = Causality::none;

    Heads heads() const { return {*query, *keys, *values, one_query, causality}; }
};

bool same_lead(const Array& a, const Array& b, int lead_axes) {
    return PyArray_CompareLists(a.shape(), b.shape(), lead_axes);
}

// Whether the leading axes of keys are those of query, but for the last, of which query may have a multiple.
bool shares_lead(const Array& query, const Array& keys, int lead_axes) {
    if (lead_axes == 0) return true;
    if (!same_lead(query, keys, lead_axes - 1)) return false;
    const npy_intp of_query = query.shape()[lead_axes - 1], of_keys = keys.shape()[lead_axes - 1];
    return of_query == of_keys || (of_query > 0 && of_keys > 0 && of_query % of_keys == 0);
}

// A memory read has neither this nor enable_gqa.
std::optional<Causality> as_causality(PyObject* slot) {
    if (!slot || slot == Py_False) return Causality::none;
    if (slot == Py_True) return Causality::upper_left;
    if (!PyUnicode_CheckExact(slot) || PyUnicode_CompareWithASCIIString(slot, "lower_right") != 0)
        return std::nullopt;
    return Causality::lower_right;
}

bool as_heads(
    PyObject* query_slot, PyObject* keys_slot, PyObject* values_slot, PyObject* causality_slot,
    PyObject* gqa_slot, bool one_query, HeadArrays& arrays
) {
    arrays.query = as_array(query_slot), arrays.keys = as_array(keys_slot);
    arrays.values = as_array(values_slot), arrays.one_query = one_query;
    const std::optional<Causality> causality = as_causality(causality_slot);
    const std::optional<bool> enable_gqa = gqa_slot ? as_flag(gqa_slot) : false;
    if (!causality || !enable_gqa) return false;
    arrays.causality = *causality;
    const MaybeArray &query = arrays.query, &keys = arrays.keys, &values = arrays.values;
    if (!query || !keys || !values) return false;
    if (keys->element != query->element || values->element != query->element) return false;
    const int lead = keys->ndim() - 2;
    if (lead < 0 || values->ndim() != lead + 2 || query->ndim() != lead + (one_query ? 1 : 2)) return false;
    if (!same_lead(*keys, *values, lead)) return false;
    if (*enable_gqa ? !shares_lead(*query, *keys, lead) : !same_lead(*query, *keys, lead)) return false;
    if (values->shape()[lead] != keys->shape()[lead]) return false;
    if (query->shape()[query->ndim() - 1] != keys->shape()[lead + 1]) return false;
    return true;
}

// The array of a mask, of which there may be none.
struct MaskArray {
    Array array;
    MaskKind kind = MaskKind::none;

    Mask mask() const { return {array, kind}; }
};

bool as_mask(PyObject* slot, const Heads& heads, MaskArray& mask) {
    if (slot == Py_None) return true;
    if (!PyArray_CheckExact(slot)) return false;
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(slot);
    // A boolean mask has no element type: of its view the kernels see place, shape and strides.
    const bool is_boolean = PyArray_TYPE(array) == NPY_BOOL;
    const MaybeArray given = is_boolean ? MaybeArray(Array(array)) : as_array(slot);
    if (!given || (!is_boolean && given->element != compute_element(heads.query.element))) return false;
    const int axes = heads.score_axes(), missing = axes - given->ndim();
    if (missing < 0) return false;
    for (int axis = missing; axis < axes; ++axis) {
        const npy_intp length = given->shape()[axis - missing];
        const npy_intp full = axis == axes - 1 ? heads.slots() : heads.query.shape[axis];
        if (length != 1 && length != full) return false;
    }
    mask.array = *given;
    mask.kind = is_boolean ? MaskKind::boolean : MaskKind::additive;
    return true;
}

// dim^-0.5 where it is None; a memory read, which has none, is not scaled.
std::optional<double> as_scale(PyObject* slot, const Heads& heads) {
    if (!slot) return 1.0;
    if (slot == Py_None) return std::pow(double(std::max<std::int64_t>(heads.dim(), 1)), -0.5);
    const std::optional<double> scale = as_number(slot, -HUGE_VAL);
    return scale && fits_compute(*scale, heads.query.element) ? scale : std::nullopt;
}

// None is 0, as of a memory read; scores may not be capped at 0.
std::optional<double> as_softcap(PyObject* slot, const Heads& heads) {
    if (!slot || slot == Py_None) return 0.0;
    const std::optional<double> softcap = as_number(slot, 0);
    return softcap && *softcap > 0 && fits_compute(*softcap, heads.query.element) ? softcap : std::nullopt;
}

// What weights are dropped: nothing by a memory read.
bool as_dropout(PyObject* share_slot, PyObject* seed_slot, Attention& task) {
    if (!share_slot) return true;
    const std::optional<double> share = as_number(share_slot, 0);
    if (!share || *share >= 1) return false;
    if (*share == 0 && seed_slot == Py_None) return true;
    const std::optional<std::uint64_t> seed = as_seed(seed_slot);
    if (!seed) return false;
    task.seed = *seed;
    task.dropped = dropped_levels(*share);
    task.dropout_scale = dropout_scale(task.dropped);
    return true;
}

struct ForwardArguments {
    Slot query, keys, values, mask, is_causal, enable_gqa, scale, softcap, dropout, seed, linear,
        return_weights;
    Out out;
    bool one_query;
};

// Copies keys or values where the result is written over them: other queries still read them.
bool set_apart(Array& array, const Array& out, Reference& copy) {
    if (out.data() != array.data()) return true;
    copy = new_copy(array);
    if (copy) array.set(copy.array(), array.element);
    return bool(copy);
}

Outcome attend_forward(const ForwardArguments& slots) {
    HeadArrays arrays;
    if (!as_heads(
            slots.query, slots.keys, slots.values, slots.is_causal, slots.enable_gqa, slots.one_query, arrays
        ))
        return not_canonical;
    MaskArray mask;
    if (!as_mask(slots.mask, arrays.heads(), mask)) return not_canonical;
    const std::optional<bool> linear = as_flag(slots.linear), return_weights = as_flag(slots.return_weights);
    const std::optional<double> scale = as_scale(slots.scale, arrays.heads()),
                                softcap = as_softcap(slots.softcap, arrays.heads());
    Attention task;
    if (!linear || !return_weights || !scale || !softcap) return not_canonical;
    if (!as_dropout(slots.dropout, slots.seed, task)) return not_canonical;

    npy_intp shape[NPY_MAXDIMS];
    const Array& query = *arrays.query;
    std::copy(query.shape(), query.shape() + query.ndim(), shape);
    shape[query.ndim() - 1] = arrays.heads().width();
    Reference result, keys_copy, values_copy;
    MaybeArray y;
    if (slots.out.array != Py_None) {
        y = as_array(slots.out.array);
        for (Array* array : {&*arrays.query, &*arrays.keys, &*arrays.values}) array->fix();
        const std::initializer_list<PyObject*> inputs = {slots.query, slots.keys, slots.values, slots.mask};
        if (!y || !is_valid_out(*y, query, query.ndim(), shape, inputs, slots.out.checked))
            return not_canonical;
        result = Reference(Py_NewRef(slots.out.given));
        if (!set_apart(*arrays.keys, *y, keys_copy) || !set_apart(*arrays.values, *y, values_copy))
            return finished(nullptr);
    } else {
        NewArray fresh = new_like(query, shape);
        if (!fresh.array) return finished(nullptr);
        result = std::move(fresh.array);
        y = Array(result.array(), query.element);
    }
    Reference weights;
    if (*return_weights) {
        shape[query.ndim() - 1] = arrays.heads().slots();
        weights = new_like(query, shape).array;
        if (!weights) return finished(nullptr);
    }

    const Heads heads = arrays.heads();
    HeadGeometry geometry;
    geometry.describe(task, heads, mask.mask());
    task.scale = *scale;
    task.softcap = *softcap;
    task.linear = *linear;
    task.y = geometry.by_query(*y, heads);
    const Array weights_array = weights ? Array(weights.array(), query.element) : Array();
    if (weights) task.weights = geometry.by_query(weights_array, heads);
    const Element element = query.element;
    if (!run_kernel(kernels().attention_forward[int(element)], task, attention_work(task, element)))
        return finished(nullptr);
    if (!weights) return finished(result.release());
    return finished(PyTuple_Pack(2, result.get(), weights.get()));
}

struct BackwardArguments {
    Slot dy, query, keys, values, mask, is_causal, enable_gqa, scale, softcap, dropout, seed, linear;
    bool one_query;
};

Outcome attend_backward(const BackwardArguments& slots) {
    HeadArrays arrays;
    if (!as_heads(
            slots.query, slots.keys, slots.values, slots.is_causal, slots.enable_gqa, slots.one_query, arrays
        ))
        return not_canonical;
    const Array &query = *arrays.query, &keys = *arrays.keys, &values = *arrays.values;
    const MaybeArray dy = as_array(slots.dy);
    if (!dy || dy->element != query.element || dy->ndim() != query.ndim()) return not_canonical;
    const Heads heads = arrays.heads();
    const int last = dy->ndim() - 1;
    if (!PyArray_CompareLists(dy->shape(), query.shape(), last) || dy->shape()[last] != heads.width()) {
        return not_canonical;
    }
    MaskArray mask;
    const std::optional<bool> linear = as_flag(slots.linear);
    const std::optional<double> scale = as_scale(slots.scale, heads),
                                softcap = as_softcap(slots.softcap, heads);
    AttentionBackward task;
    Attention& forward = task.forward;
    if (!as_mask(slots.mask, heads, mask) || !linear || !scale || !softcap) return not_canonical;
    if (!as_dropout(slots.dropout, slots.seed, forward)) return not_canonical;

    const Element element = query.element;
    const Reference dquery = std::move(new_like(query).array), dkeys = std::move(new_like(keys).array),
                    dvalues = std::move(new_like(values).array);
    if (!dquery || !dkeys || !dvalues) return finished(nullptr);
    HeadGeometry geometry;
    geometry.describe(forward, heads, mask.mask());
    forward.scale = *scale;
    forward.softcap = *softcap;
    forward.linear = *linear;
    task.dy = geometry.by_query(*dy, heads);
    const Array by_query(dquery.array(), element), by_key(dkeys.array(), element);
    const Array by_value(dvalues.array(), element);
    task.dquery = geometry.by_query(by_query, heads);
    task.dkeys = geometry.by_slot(by_key, heads);
    task.dvalues = geometry.by_slot(by_value, heads);
    const Buffer stats(std::size_t(attention_stats_bytes(forward, element)));
    if (!stats) return finished(PyErr_NoMemory());
    task.stats = stats.data();
    if (!run_planned(attention_backward_nanoseconds(forward, element), [&] {
            return run_attention_backward(task, element);
        })) {
        return finished(nullptr);
    }
    return finished(PyTuple_Pack(3, dquery.get(), dkeys.get(), dvalues.get()));
}

struct AttentionArguments {
    FASTNORM_ARGUMENTS(
        query, keys, values, mask, is_causal, scale, softcap, enable_gqa, dropout, seed, linear,
        return_weights, out
    )
};
Outcome attention(const Call<AttentionArguments>& call) {
    return attend_forward(
        {call.query, call.keys, call.values, call.mask, call.is_causal, call.enable_gqa, call.scale,
         call.softcap, call.dropout, call.seed, call.linear, call.return_weights, out_of(call), false}
    );
}

struct AttentionBackwardArguments {
    FASTNORM_ARGUMENTS(
        dy, query, keys, values, mask, is_causal, scale, softcap, enable_gqa, dropout, seed, linear
    )
};
Outcome attention_backward(const Call<AttentionBackwardArguments>& call) {
    return attend_backward(
        {call.dy, call.query, call.keys, call.values, call.mask, call.is_causal, call.enable_gqa, call.scale,
         call.softcap, call.dropout, call.seed, call.linear, false}
    );
}

struct MemoryReadArguments {
    FASTNORM_ARGUMENTS(query, keys, values, mask, linear, return_weights, out)
};
Outcome memory_read(const Call<MemoryReadArguments>& call) {
    return attend_forward(
        {call.query, call.keys, call.values, call.mask, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
         call.linear, call.return_weights, out_of(call), true}
    );
}

struct MemoryReadBackwardArguments {
    FASTNORM_ARGUMENTS(dy, query, keys, values, mask, linear)
};
Outcome memory_read_backward(const Call<MemoryReadBackwardArguments>& call) {
    return attend_backward(
        {call.dy, call.query, call.keys, call.values, call.mask, nullptr, nullptr, nullptr, nullptr, nullptr,
         nullptr, call.linear, true}
    );
}

}  // namespace

const NativeOp attention_ops[] = {
    FASTNORM_OP(attention),
    FASTNORM_OP(attention_backward),
    FASTNORM_OP(memory_read),
    FASTNORM_OP(memory_read_backward),
    end_of_ops,
};

}  // namespace fastnorm
