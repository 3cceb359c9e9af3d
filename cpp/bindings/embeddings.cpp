#include <algorithm>

#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/overlap.h"
#include "bindings/run.h"
#include "plan/embeddings.h"
#include "plan/memory.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// A table of rows x dim, ids of any shape, and the shape of the result, which has an axis more.
struct Lookup {
    MaybeArray table;
    PyArrayObject* ids = nullptr;
    npy_intp shape[NPY_MAXDIMS];
    int ndim = 0;
    std::int64_t count = 1;
    std::int64_t padding = no_word;

    // False where the arguments are not canonical.
    bool set(PyObject* ids_slot, PyObject* table_slot, PyObject* padding_slot) {
        table = as_array(table_slot);
        if (!table || table->ndim() != 2 || !PyArray_CheckExact(ids_slot)) return false;
        ids = reinterpret_cast<PyArrayObject*>(ids_slot);
        if (!PyArray_ISINTEGER(ids) || PyArray_ISBYTESWAPPED(ids) || PyArray_NDIM(ids) == NPY_MAXDIMS)
            return false;
        for (; ndim < PyArray_NDIM(ids); ++ndim) shape[ndim] = PyArray_DIM(ids, ndim);
        shape[ndim++] = dim();
        std::int64_t room = most_elements;  // for what the result is multiplied by yet
        for (int i = 0; i < ndim; ++i) room /= std::max<npy_intp>(shape[i], 1);
        if (room == 0) return false;
        for (int i = 0; i < ndim - 1; ++i) count *= shape[i];
        if (padding_slot == Py_None) return true;
        if (!PyLong_CheckExact(padding_slot)) return false;
        int overflow = 0;
        padding = PyLong_AsLongLongAndOverflow(padding_slot, &overflow);
        return !overflow && padding >= 0 && padding < rows();
    }

    std::int64_t rows() const { return table->shape()[0]; }
    std::int64_t dim() const { return table->shape()[1]; }

    // The ids as contiguous int64; as they lie where they are that and nobody relies on their values to stay.
    Reference numbers(bool own) {
        if (!own && PyArray_TYPE(ids) == NPY_INT64 && PyArray_ISCARRAY_RO(ids))
            return Reference(Py_NewRef(reinterpret_cast<PyObject*>(ids)));
        return copy_integers(ids, *table);
    }
};

const std::int64_t* integers_of(const Reference& numbers) {
    return static_cast<const std::int64_t*>(PyArray_DATA(numbers.array()));
}

struct EmbeddingArguments {
    FASTNORM_ARGUMENTS(ids, table, padding_id, out)
};

Outcome embedding(const Call<EmbeddingArguments>& call) {
    Lookup lookup;
    if (!lookup.set(call.ids, call.table, call.padding_id)) return not_canonical;
    lookup.table->fix();
    const Reference numbers = lookup.numbers(false);
    if (!numbers) return finished(nullptr);
    if (!are_below(numbers, lookup.rows())) return not_canonical;

    const Array& table = *lookup.table;
    Reference returned, written;
    if (call.out != Py_None) {
        const MaybeArray out = as_array(call.out);
        if (!out || !is_valid_out(*out, table, lookup.ndim, lookup.shape, {call.table}, call.checked))
            return not_canonical;
        const Extent read = extent_of(lookup.ids), changed = extent_of(*out);
        if (!call.checked && read.begin < changed.end && changed.begin < read.end) return not_canonical;
        returned = Reference(Py_NewRef(call.given.out));
        // Where the table itself is written, or what is not contiguous, the rows are gathered elsewhere
        // first.
        if (out->is_c_contiguous() && out->data() != table.data()) written = Reference(Py_NewRef(call.out));
    }
    if (!written) written = new_beside(table, lookup.ndim, lookup.shape, table.element).array;
    if (!written) return finished(nullptr);
    const Gather gather{table, integers_of(numbers), lookup.count, PyArray_BYTES(written.array())};
    const Work work = gather_work(gather);
    if (!run_planned(work.nanoseconds, [&] { return run_gather(gather, work); })) return finished(nullptr);
    if (!returned) return finished(written.release());
    if (call.out != written.get()) {
        const Reference target(Py_NewRef(call.out));
        if (PyArray_CopyInto(target.array(), written.array()) < 0) return finished(nullptr);
    }
    return finished(returned.release());
}

struct EmbeddingBackwardArguments {
    FASTNORM_ARGUMENTS(dy, ids, table, padding_id)
};

Outcome embedding_backward(const Call<EmbeddingBackwardArguments>& call) {
    Lookup lookup;
    MaybeArray dy = as_array(call.dy);
    if (!dy || !lookup.set(call.ids, call.table, call.padding_id)) return not_canonical;
    const Element element = dy->element;
    if (element != lookup.table->element || dy->ndim() != lookup.ndim) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), lookup.shape, lookup.ndim)) return not_canonical;
    dy->fix();
    lookup.table->fix();
    const Reference numbers = lookup.numbers(true);
    if (!numbers) return finished(nullptr);
    if (!are_below(numbers, lookup.rows())) return not_canonical;

    const SentenceShape size{lookup.count, 1, lookup.rows(), lookup.dim()};
    // Half types are widened, which is exact, as the kernel reads what it computes in.
    const Reference gradient = as_contiguous(*dy, compute_type_number(element), *lookup.table);
    const NewArray dtable = new_beside(*dy, 2, lookup.table->shape(), compute_element(element));
    const Buffer places(std::size_t(size.words()) * sizeof(WordPlace));
    const Buffer first(std::size_t(size.rows + 1) * sizeof(std::int64_t));
    const Buffer ones(std::size_t(size.dim) * sizeof(double));
    if (!gradient || !dtable.array) return finished(nullptr);
    if (!places || !first || !ones) return finished(PyErr_NoMemory());
    std::fill_n(static_cast<double*>(ones.data()), size.dim, 1.0);
    const EmbeddingSumBackward task{
        PyArray_DATA(gradient.array()),
        static_cast<const double*>(ones.data()),
        static_cast<const WordPlace*>(places.data()),
        static_cast<const std::int64_t*>(first.data()),
        PyArray_DATA(dtable.array.array()),
        size.dim
    };
    const Work work = embedding_backward_work(size, element);
    const auto kernel = kernels().embedding_sum_backward[int(element)];
    const bool done = run_planned(work.nanoseconds, [&] {
        sort_places(
            size, integers_of(numbers), static_cast<std::int64_t*>(first.data()),
            static_cast<WordPlace*>(places.data()), lookup.padding
        );
        return run(kernel, task, work);
    });
    return finished(done ? Py_NewRef(dtable.array.get()) : nullptr);
}

// Tables of cosines and sines as contiguous memory of the compute type: (..., positions, pairs), with as many
// axes as x or fewer, the leading ones as those of x or 1.
struct Angles {
    Reference cosines, sines;
    bool canonical = false;

    Angles(PyObject* cosine_slot, PyObject* sine_slot, Array& x) {
        MaybeArray cosine = as_array(cosine_slot), sine = as_array(sine_slot);
        if (!cosine || !sine || x.ndim() < 2) return;
        const int axes = cosine->ndim(), missing = x.ndim() - axes;
        if (axes < 2 || missing < 0 || !same_shape(*cosine, *sine)) return;
        for (const Array& table : {*cosine, *sine}) {
            if (table.element != x.element && table.element != compute_element(x.element)) return;
        }
        for (int i = 0; i < axes - 2; ++i) {
            if (cosine->shape()[i] != 1 && cosine->shape()[i] != x.shape()[missing + i]) return;
        }
        if (cosine->shape()[axes - 2] != x.shape()[x.ndim() - 2]) return;
        if (cosine->shape()[axes - 1] > x.shape()[x.ndim() - 1] / 2) return;
        canonical = true;
        cosine->fix(), sine->fix();
        cosines = as_contiguous(*cosine, compute_type_number(x.element), x);
        if (cosines) sines = as_contiguous(*sine, compute_type_number(x.element), x);
        shape_ = *cosine;
    }
    explicit operator bool() const { return bool(sines); }
    // A view of one of them: the shape is that which was checked.
    View view(const Reference& table, std::ptrdiff_t* strides, Element element) const {
        std::ptrdiff_t step = item_size(element);
        for (int i = shape_.ndim() - 1; i >= 0; --i) {
            strides[i] = step;
            step *= shape_.shape()[i];
        }
        return {PyArray_BYTES(table.array()), element, shape_.ndim(), shape_.shape(), strides, true};
    }

private:
    Array shape_;
};

// Turns x, whose angles these are, into y.
Outcome turned(const Array& x, const Angles& angles, PyObject* interleaved, double direction, Result y) {
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    const Element compute = compute_element(x.element);
    std::ptrdiff_t strides[NPY_MAXDIMS];
    Geometry geometry;
    Rotation task;
    task.direction = direction;
    task.neighbours = interleaved == Py_True;
    const Work work = plan_rotation(
        task, geometry, x, angles.view(angles.cosines, strides, compute),
        angles.view(angles.sines, strides, compute), y.array, y.warm
    );
    if (task.shape.cols > 0 && !run_kernel(kernels().rotary_embedding[int(x.element)], task, work))
        return finished(nullptr);
    return finished(y.object.release());
}

struct RotaryEmbeddingArguments {
    FASTNORM_ARGUMENTS(x, cos, sin, interleaved, out)
};

Outcome rotary_embedding(const Call<RotaryEmbeddingArguments>& call) {
    MaybeArray x = as_array(call.x);
    if (!x || !as_flag(call.interleaved)) return not_canonical;
    const Angles angles(call.cos, call.sin, *x);
    if (!angles.canonical) return not_canonical;
    if (!angles) return finished(nullptr);
    return turned(
        *x, angles, call.interleaved, 1, result_like(*x, out_of(call), {call.x, call.cos, call.sin})
    );
}

struct RotaryEmbeddingBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, cos, sin, interleaved)
};

Outcome rotary_embedding_backward(const Call<RotaryEmbeddingBackwardArguments>& call) {
    MaybeArray x = as_array(call.x), dy = as_array(call.dy);
    if (!x || !dy || !as_flag(call.interleaved)) return not_canonical;
    if (dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    dy->fix();
    const Angles angles(call.cos, call.sin, *x);
    if (!angles.canonical) return not_canonical;
    if (!angles) return finished(nullptr);
    x->fix();
    NewArray fresh = new_like(*x);
    Result dx;
    if (fresh.array) dx.array = Array(fresh.array.array(), x->element);
    dx.object = std::move(fresh.array);
    dx.warm = fresh.warm;
    return turned(*dy, angles, call.interleaved, -1, std::move(dx));
}

}  // namespace

const NativeOp embedding_ops[] = {
    FASTNORM_OP(embedding),
    FASTNORM_OP(embedding_backward),
    FASTNORM_OP(rotary_embedding),
    FASTNORM_OP(rotary_embedding_backward),
    end_of_ops,
};

}  // namespace fastnorm
