#include <cmath>

#include "bindings/arrays.h"
#include "bindings/families.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for a score: an exponential, and a multiply-add for each column of the keys and of the
// values; measured in cache, float32.
constexpr double score_nanoseconds = 0.4;
constexpr double column_nanoseconds = 0.013;
// Tiles are shared out in chunks of about this.
constexpr double chunk_nanoseconds = 10000;

// query, keys and values of a call. A memory read has one query a head, which has no axis of its own.
struct Heads {
    Array query, keys, values;
    int lead_axes = 0;
    bool one_query = false;

    std::int64_t queries() const { return one_query ? 1 : query.shape()[lead_axes]; }
    std::int64_t slots() const { return keys.shape()[lead_axes]; }
    std::int64_t dim() const { return keys.shape()[lead_axes + 1]; }
    std::int64_t width() const { return values.shape()[lead_axes + 1]; }
};

bool same_lead(const Array& a, const Array& b, int lead_axes) {
    return PyArray_CompareLists(a.shape(), b.shape(), lead_axes);
}

std::optional<Heads> as_heads(
    PyObject* query_slot, PyObject* keys_slot, PyObject* values_slot, bool one_query
) {
    const std::optional<Array> query = as_array(query_slot), keys = as_array(keys_slot),
                               values = as_array(values_slot);
    if (!query || !keys || !values) return std::nullopt;
    if (keys->element != query->element || values->element != query->element) return std::nullopt;
    const Heads heads{*query, *keys, *values, keys->ndim() - 2, one_query};
    const int lead = heads.lead_axes;
    if (lead < 0 || values->ndim() != lead + 2 || query->ndim() != lead + (one_query ? 1 : 2))
        return std::nullopt;
    if (!same_lead(*query, *keys, lead) || !same_lead(*query, *values, lead)) return std::nullopt;
    if (values->shape()[lead] != heads.slots() || query->shape()[query->ndim() - 1] != heads.dim())
        return std::nullopt;
    return heads;
}

// Strides of up to that many operands.
constexpr int max_operands = 10;
class Layout {
public:
    HeadMatrix matrix(const Array& array, int lead_axes, bool has_rows) {
        const std::int64_t size = item_size(array.element);
        HeadMatrix matrix = strided(array.object, lead_axes, has_rows);
        std::uintptr_t misalignment =
            reinterpret_cast<std::uintptr_t>(matrix.data) | std::uintptr_t(matrix.row_stride);
        for (int i = 0; i < lead_axes; ++i) misalignment |= std::uintptr_t(matrix.lead_stride[i]);
        const bool neighbours = matrix.col_stride == size || array.shape()[array.ndim() - 1] <= 1;
        matrix.contiguous = neighbours && misalignment % std::uintptr_t(size) == 0;
        return matrix;
    }
    HeadMatrix strided(PyArrayObject* array, int lead_axes, bool has_rows) {
        std::int64_t* lead = strides_[used_++];
        const npy_intp* strides = PyArray_STRIDES(array);
        for (int i = 0; i < lead_axes; ++i) lead[i] = strides[i];
        const int last = PyArray_NDIM(array) - 1;
        return {PyArray_BYTES(array), lead, has_rows ? strides[last - 1] : 0, strides[last], false};
    }
    // A mask broadcasts against the leading axes, the queries and the slots: axes of length 1 are not stepped
    // along.
    HeadMatrix broadcast(PyArrayObject* array, const Heads& heads) {
        std::int64_t* lead = strides_[used_++];
        const int axes = heads.lead_axes + (heads.one_query ? 1 : 2), missing = axes - PyArray_NDIM(array);
        const auto stride = [&](int axis) -> std::int64_t {
            return axis < missing || PyArray_DIM(array, axis - missing) == 1
                       ? 0
                       : PyArray_STRIDE(array, axis - missing);
        };
        for (int i = 0; i < heads.lead_axes; ++i) lead[i] = stride(i);
        return {PyArray_BYTES(array), lead, heads.one_query ? 0 : stride(axes - 2), stride(axes - 1), false};
    }

private:
    int used_ = 0;
    std::int64_t strides_[max_operands][NPY_MAXDIMS];
};

struct Mask {
    PyArrayObject* array = nullptr;
    MaskKind kind = MaskKind::none;
};
std::optional<Mask> as_mask(PyObject* slot, const Heads& heads) {
    if (slot == Py_None) return Mask{};
    if (!PyArray_CheckExact(slot)) return std::nullopt;
    const Mask mask{
        reinterpret_cast<PyArrayObject*>(slot),
        PyArray_TYPE(reinterpret_cast<PyArrayObject*>(slot)) == NPY_BOOL ? MaskKind::boolean
                                                                         : MaskKind::additive
    };
    if (mask.kind == MaskKind::additive) {
        const std::optional<Array> array = as_array(slot);
        if (!array || array->element != compute_element(heads.query.element)) return std::nullopt;
    }
    const int axes = heads.lead_axes + (heads.one_query ? 1 : 2), missing = axes - PyArray_NDIM(mask.array);
    if (missing < 0) return std::nullopt;
    for (int axis = missing; axis < axes; ++axis) {
        const npy_intp length = PyArray_DIM(mask.array, axis - missing);
        const npy_intp full = axis == axes - 1 ? heads.slots() : heads.query.shape()[axis];
        if (length != 1 && length != full) return std::nullopt;
    }
    return mask;
}

// What both directions are given; y and weights are left out.
void describe(
    Attention& task, Layout& layout, const Heads& heads, const Mask& mask, std::int64_t* lead_extent
) {
    const int lead = heads.lead_axes;
    task.heads = 1;
    for (int i = 0; i < lead; ++i) {
        lead_extent[i] = heads.keys.shape()[i];
        task.heads *= lead_extent[i];
    }
    task.lead_axes = lead;
    task.lead_extent = lead_extent;
    task.queries = heads.queries();
    task.slots = heads.slots();
    task.dim = heads.dim();
    task.width = heads.width();
    task.query = layout.matrix(heads.query, lead, !heads.one_query);
    task.keys = layout.matrix(heads.keys, lead, true);
    task.values = layout.matrix(heads.values, lead, true);
    task.mask_kind = mask.kind;
    task.mask = mask.array ? layout.broadcast(mask.array, heads) : HeadMatrix{};
    task.y = task.weights = HeadMatrix{};
}

template <class Task>
bool run_tiles(
    void (*kernel)(const Task&, std::int64_t, std::int64_t, void*), const Task& task,
    const Attention& forward, Element element, std::int64_t rows, double products
) {
    const std::int64_t units = forward.heads * tiles_of(rows, attention_tile(element));
    // A tile costs the same however few of its lanes hold rows; one of half the lanes is the smallest. A
    // single query costs about as much as six.
    const double lanes =
        forward.queries == 1 ? 6 : std::max(double(rows), double(attention_tile(element)) / 2);
    const double scores =
        lanes * double(forward.queries * forward.slots) / double(std::max<std::int64_t>(rows, 1));
    const double cost =
        products * (score_nanoseconds + column_nanoseconds * double(forward.dim + forward.width));
    const double nanoseconds = double(forward.heads) * scores * cost * (element == Element::float64 ? 2 : 1);
    const double unit = nanoseconds / double(std::max<std::int64_t>(units, 1));
    const std::int64_t chunk =
        std::max<std::int64_t>(1, std::int64_t(chunk_nanoseconds / std::max(unit, 1.0)));
    return run_kernel(
        kernel, task, units, chunk, nanoseconds,
        std::size_t(attention_scratch_bytes(forward.dim, forward.width))
    );
}

struct ForwardArguments {
    Slot query, keys, values, mask, linear, return_weights;
    Out out;
    double scale;
    bool one_query;
};

// keys or values, copied where the result is written over them: other queries still read them.
std::optional<Array> apart(const Array& array, const std::optional<Array>& out, Reference& copy) {
    if (!out || out->data() != array.data()) return array;
    copy = Reference(PyArray_NewCopy(array.object, NPY_KEEPORDER));
    if (!copy) return std::nullopt;
    return Array{copy.array(), array.element};
}

Outcome attend_forward(const ForwardArguments& slots) {
    std::optional<Heads> heads = as_heads(slots.query, slots.keys, slots.values, slots.one_query);
    if (!heads) return not_canonical;
    const std::optional<Mask> mask = as_mask(slots.mask, *heads);
    const std::optional<bool> linear = as_flag(slots.linear), return_weights = as_flag(slots.return_weights);
    if (!mask || !linear || !return_weights) return not_canonical;

    npy_intp shape[NPY_MAXDIMS];
    const Array& query = heads->query;
    std::copy(query.shape(), query.shape() + query.ndim(), shape);
    shape[query.ndim() - 1] = heads->width();
    Reference result, keys_copy, values_copy;
    std::optional<Array> y;
    if (slots.out.array != Py_None) {
        y = as_array(slots.out.array);
        const std::initializer_list<PyObject*> inputs = {slots.query, slots.keys, slots.values, slots.mask};
        if (!y || !is_valid_out(*y, query, query.ndim(), shape, inputs, slots.out.checked))
            return not_canonical;
        result = Reference(Py_NewRef(slots.out.given));
        const std::optional<Array> keys = apart(heads->keys, y, keys_copy),
                                   values = apart(heads->values, y, values_copy);
        if (!keys || !values) return finished(nullptr);
        heads->keys = *keys, heads->values = *values;
    } else {
        NewArray fresh = new_like(query, shape);
        if (!fresh.array) return finished(nullptr);
        result = std::move(fresh.array);
        y = Array{result.array(), query.element};
    }
    Reference weights;
    if (*return_weights) {
        shape[query.ndim() - 1] = heads->slots();
        weights = new_like(query, shape).array;
        if (!weights) return finished(nullptr);
    }

    std::int64_t lead_extent[NPY_MAXDIMS];
    Layout layout;
    Attention task;
    describe(task, layout, *heads, *mask, lead_extent);
    task.scale = slots.scale;
    task.linear = *linear;
    task.y = layout.matrix(*y, heads->lead_axes, !slots.one_query);
    if (weights) task.weights = layout.strided(weights.array(), heads->lead_axes, !slots.one_query);
    const Element element = query.element;
    if (!run_tiles(kernels().attention_forward[int(element)], task, task, element, task.queries, 1)) {
        return finished(nullptr);
    }
    if (!weights) return finished(result.release());
    return finished(PyTuple_Pack(2, result.get(), weights.get()));
}

struct BackwardArguments {
    Slot dy, query, keys, values, mask, linear;
    double scale;
    bool one_query;
};

Outcome attend_backward(const BackwardArguments& slots) {
    const std::optional<Heads> heads = as_heads(slots.query, slots.keys, slots.values, slots.one_query);
    const std::optional<Array> dy = as_array(slots.dy);
    if (!heads || !dy || dy->element != heads->query.element || dy->ndim() != heads->query.ndim())
        return not_canonical;
    const int last = dy->ndim() - 1, lead = heads->lead_axes;
    if (!PyArray_CompareLists(dy->shape(), heads->query.shape(), last) ||
        dy->shape()[last] != heads->width()) {
        return not_canonical;
    }
    const std::optional<Mask> mask = as_mask(slots.mask, *heads);
    const std::optional<bool> linear = as_flag(slots.linear);
    if (!mask || !linear) return not_canonical;

    const Element element = heads->query.element;
    const Reference dquery = std::move(new_like(heads->query).array),
                    dkeys = std::move(new_like(heads->keys).array),
                    dvalues = std::move(new_like(heads->values).array);
    if (!dquery || !dkeys || !dvalues) return finished(nullptr);
    std::int64_t lead_extent[NPY_MAXDIMS];
    Layout layout;
    AttentionBackward task;
    describe(task.forward, layout, *heads, *mask, lead_extent);
    task.forward.scale = slots.scale;
    task.forward.linear = *linear;
    task.dy = layout.matrix(*dy, lead, !slots.one_query);
    task.dquery = layout.matrix(Array{dquery.array(), element}, lead, !slots.one_query);
    task.dkeys = layout.matrix(Array{dkeys.array(), element}, lead, true);
    task.dvalues = layout.matrix(Array{dvalues.array(), element}, lead, true);
    const std::int64_t numbers = task.forward.heads * task.forward.queries * attention_stats;
    const Buffer stats(std::size_t(numbers * item_size(compute_element(element))));
    if (!stats) return finished(PyErr_NoMemory());
    task.stats = stats.data();
    const KernelTable& all = kernels();
    const Attention& forward = task.forward;
    if (!run_tiles(
            all.attention_backward_query[int(element)], task, forward, element, forward.queries, 2.5
        )) {
        return finished(nullptr);
    }
    // The first kernel has done all for a single query.
    if (forward.queries > 1 &&
        !run_tiles(all.attention_backward_keys[int(element)], task, forward, element, forward.slots, 2)) {
        return finished(nullptr);
    }
    return finished(PyTuple_Pack(3, dquery.get(), dkeys.get(), dvalues.get()));
}

struct AttentionArguments {
    FASTNORM_ARGUMENTS(query, keys, values, mask, scale, linear, return_weights, out)
};
Outcome attention(const Call<AttentionArguments>& call) {
    const std::optional<double> scale = as_number(call.scale, -HUGE_VAL);
    if (!scale) return not_canonical;
    return attend_forward(
        {call.query, call.keys, call.values, call.mask, call.linear, call.return_weights, out_of(call),
         *scale, false}
    );
}

struct AttentionBackwardArguments {
    FASTNORM_ARGUMENTS(dy, query, keys, values, mask, scale, linear)
};
Outcome attention_backward(const Call<AttentionBackwardArguments>& call) {
    const std::optional<double> scale = as_number(call.scale, -HUGE_VAL);
    if (!scale) return not_canonical;
    return attend_backward(
        {call.dy, call.query, call.keys, call.values, call.mask, call.linear, *scale, false}
    );
}

struct MemoryReadArguments {
    FASTNORM_ARGUMENTS(query, keys, values, mask, linear, return_weights, out)
};
Outcome memory_read(const Call<MemoryReadArguments>& call) {
    return attend_forward(
        {call.query, call.keys, call.values, call.mask, call.linear, call.return_weights, out_of(call), 1,
         true}
    );
}

struct MemoryReadBackwardArguments {
    FASTNORM_ARGUMENTS(dy, query, keys, values, mask, linear)
};
Outcome memory_read_backward(const Call<MemoryReadBackwardArguments>& call) {
    return attend_backward({call.dy, call.query, call.keys, call.values, call.mask, call.linear, 1, true});
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
