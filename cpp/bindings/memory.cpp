#include <vector>

#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/run.h"
#include "plan/memory.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// The arrays of a tuple, all of one type and shape.
std::optional<std::vector<Array>> as_arrays(PyObject* slot) {
    if (!PyTuple_CheckExact(slot)) return std::nullopt;
    std::vector<Array> arrays;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(slot); ++i) {
        const MaybeArray array = as_array(PyTuple_GET_ITEM(slot, i));
        if (!array || (i > 0 && (array->element != arrays[0].element || !same_shape(*array, arrays[0])))) {
            return std::nullopt;
        }
        arrays.push_back(*array);
        arrays.back().fix();  // they are copied one by one
    }
    if (arrays.empty()) return std::nullopt;
    return arrays;
}

// What both directions are given: tables of rows x dim, words of any leading axes and one of positions,
// encoding of positions x dim, and the arrays of words and encoding as contiguous memory.
struct Sentences {
    std::vector<Array> tables;
    Reference words, encoding;
    SentenceShape size;
    npy_intp shape[NPY_MAXDIMS];  // of a result
    int ndim = 0;

    Element element() const { return tables[0].element; }
    const std::int64_t* ids() const { return static_cast<const std::int64_t*>(PyArray_DATA(words.array())); }
};

// True where the arguments are canonical; an error is set then where there is no memory. The encoding is
// wanted in the tables' type or in double. What may be large beside a small table comes first, as it is
// copied without the GIL.
bool as_sentences(PyObject* tables, PyObject* words, PyObject* encoding, bool wide, Sentences& s) {
    MaybeArray factors = as_array(encoding);
    if (!factors || factors->ndim() != 2 || !PyArray_CheckExact(words)) return false;
    PyArrayObject* given = reinterpret_cast<PyArrayObject*>(words);
    const int last = PyArray_NDIM(given) - 1;
    if (!PyArray_ISINTEGER(given) || PyArray_ISBYTESWAPPED(given) || last < 0) return false;
    s.size.positions = PyArray_DIM(given, last);
    s.ndim = last + 1;
    s.size.count = 1;
    for (int i = 0; i < last; ++i) s.size.count *= s.shape[i] = PyArray_DIM(given, i);
    s.words = copy_integers(given, *factors);
    if (!s.words) return true;
    const Element element = factors->element;
    s.encoding = as_contiguous(*factors, wide ? NPY_DOUBLE : type_number_of(element), *factors);
    if (!s.encoding) return true;

    std::optional<std::vector<Array>> arrays = as_arrays(tables);
    if (!arrays) return false;
    s.tables = std::move(*arrays);
    const Array& table = s.tables[0];
    if (table.ndim() != 2 || table.element != element || element != compute_element(element)) return false;
    s.size.rows = table.shape()[0];
    s.size.dim = s.shape[last] = table.shape()[1];
    if (factors->shape()[0] != s.size.positions || factors->shape()[1] != s.size.dim) return false;
    return are_below(s.words, s.size.rows);
}

struct EmbeddingSumsArguments {
    FASTNORM_ARGUMENTS(tables, words, encoding)
    FASTNORM_SEQUENCES(tables)
};

Outcome embedding_sums(const Call<EmbeddingSumsArguments>& call) {
    Sentences s;
    if (!as_sentences(call.tables, call.words, call.encoding, false, s)) return not_canonical;
    if (!s.words || !s.encoding) return finished(nullptr);
    Reference results(PyTuple_New(Py_ssize_t(s.tables.size())));
    if (!results) return finished(nullptr);
    const Work work = embedding_work(s.size, s.element());
    const auto kernel = kernels().embedding_sum[int(s.element())];
    for (std::size_t i = 0; i < s.tables.size(); ++i) {
        const Reference table = as_contiguous(s.tables[i], type_number_of(s.element()), s.tables[i]);
        PyObject* y = new_array(s.ndim, s.shape, type_number_of(s.element())).release();
        if (!table || !y) return finished(nullptr);
        PyTuple_SET_ITEM(results.get(), Py_ssize_t(i), y);
        const EmbeddingSum task{
            PyArray_DATA(table.array()),
            s.ids(),
            PyArray_DATA(s.encoding.array()),
            PyArray_DATA(reinterpret_cast<PyArrayObject*>(y)),
            s.size.positions,
            s.size.dim
        };
        if (!run_kernel(kernel, task, work)) return finished(nullptr);
    }
    return finished(results.release());
}

struct EmbeddingSumsBackwardArguments {
    FASTNORM_ARGUMENTS(dys, tables, words, encoding)
    FASTNORM_SEQUENCES(dys, tables)
};

Outcome embedding_sums_backward(const Call<EmbeddingSumsBackwardArguments>& call) {
    Sentences s;
    if (!as_sentences(call.tables, call.words, call.encoding, true, s)) return not_canonical;
    if (!s.words || !s.encoding) return finished(nullptr);
    std::optional<std::vector<Array>> dys = as_arrays(call.dys);
    if (!dys) return not_canonical;
    const Array& dy = (*dys)[0];
    if (dys->size() != s.tables.size() || dy.element != s.element() || dy.ndim() != s.ndim ||
        !PyArray_CompareLists(dy.shape(), s.shape, s.ndim)) {
        return not_canonical;
    }
    const Buffer places(std::size_t(s.size.words()) * sizeof(WordPlace));
    const Buffer first(std::size_t(s.size.rows + 1) * sizeof(std::int64_t));
    Reference results(PyTuple_New(Py_ssize_t(dys->size())));
    if (!places || !first || !results) return finished(results ? PyErr_NoMemory() : nullptr);
    const Work work = embedding_backward_work(s.size, s.element());
    {
        const ReleasedGil released(work.nanoseconds > gil_nanoseconds);
        sort_places(
            s.size, s.ids(), static_cast<std::int64_t*>(first.data()), static_cast<WordPlace*>(places.data())
        );
    }
    const auto kernel = kernels().embedding_sum_backward[int(s.element())];
    for (std::size_t i = 0; i < dys->size(); ++i) {
        Array& dy_of_table = (*dys)[i];
        const Reference gradient = as_contiguous(dy_of_table, type_number_of(s.element()), dy_of_table);
        PyObject* dtable = new_array(2, s.tables[i].shape(), type_number_of(s.element())).release();
        if (!gradient || !dtable) return finished(nullptr);
        PyTuple_SET_ITEM(results.get(), Py_ssize_t(i), dtable);
        const EmbeddingSumBackward task{
            PyArray_DATA(gradient.array()),
            static_cast<const double*>(PyArray_DATA(s.encoding.array())),
            static_cast<const WordPlace*>(places.data()),
            static_cast<const std::int64_t*>(first.data()),
            PyArray_DATA(reinterpret_cast<PyArrayObject*>(dtable)),
            s.size.dim
        };
        if (!run_kernel(kernel, task, work)) return finished(nullptr);
    }
    return finished(results.release());
}

}  // namespace

const NativeOp memory_ops[] = {
    FASTNORM_OP(embedding_sums),
    FASTNORM_OP(embedding_sums_backward),
    end_of_ops,
};

}  // namespace fastnorm
