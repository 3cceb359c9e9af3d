#include "bindings/packed_weight.h"

#include <new>

#include "bindings/arrays.h"
#include "bindings/run.h"
#include "plan/packed_weight.h"

namespace fastnorm {

namespace {

PyTypeObject* packed_weight_type = nullptr;

struct PackedWeightObject {
    PyObject_HEAD PackedWeight weight;
};

const PackedWeight& weight_of(PyObject* self) { return reinterpret_cast<PackedWeightObject*>(self)->weight; }

// PackedWeight(array): from an array with two axes of a supported type, which fastnorm._arguments has seen
// to.
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* given;
    if (!PyArg_ParseTuple(args, "O:PackedWeight", &given)) return nullptr;
    MaybeArray array = as_array(given);
    if (!array || array->ndim() != 2) {
        PyErr_SetString(PyExc_TypeError, "PackedWeight: needs a canonical array with two axes");
        return nullptr;
    }
    Reference self(type->tp_alloc(type, 0));
    if (!self) return nullptr;
    PackedWeight& weight = *new (&reinterpret_cast<PackedWeightObject*>(self.get())->weight) PackedWeight;
    const char* const data = array->data();
    const npy_intp row_stride = array->strides()[0], col_stride = array->strides()[1];
    if (!weight.reserve(array->element, array->shape()[0], array->shape()[1])) return PyErr_NoMemory();
    if (!run_planned(weight.nanoseconds(), [&] { return weight.pack(data, row_stride, col_stride); }))
        return nullptr;
    return self.release();
}

void destroy(PyObject* self) {
    reinterpret_cast<PackedWeightObject*>(self)->weight.~PackedWeight();
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* unpack(PyObject* self, PyObject*) {
    const PackedWeight& weight = weight_of(self);
    Reference array = new_array(2, weight.shape(), type_number_of(weight.element()));
    if (!array) return nullptr;
    char* const data = PyArray_BYTES(array.array());
    const npy_intp* const strides = PyArray_STRIDES(array.array());
    if (!run_planned(weight.nanoseconds(), [&] { return weight.unpack(data, strides[0], strides[1]); }))
        return nullptr;
    return array.release();
}

PyObject* get_shape(PyObject* self, void*) {
    const std::ptrdiff_t* shape = weight_of(self).shape();
    return Py_BuildValue("nn", Py_ssize_t(shape[0]), Py_ssize_t(shape[1]));
}
PyObject* get_dtype(PyObject* self, void*) {
    return reinterpret_cast<PyObject*>(descr_of(weight_of(self).element()));
}
PyObject* get_nbytes(PyObject* self, void*) { return PyLong_FromLongLong(weight_of(self).bytes()); }

PyGetSetDef attributes[] = {
    {"shape", get_shape, nullptr, "(in, out), as of the weight.", nullptr},
    {"dtype", get_dtype, nullptr, "The dtype of the weight.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes that the packed copy takes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"unpack", unpack, METH_NOARGS, "Return the weight as a new array."},
    {nullptr, nullptr, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

PyType_Slot slots_of_type[] = {
    {Py_tp_new, slot(create)},
    {Py_tp_dealloc, slot(destroy)},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {
    "fastnorm._core.PackedWeight",
    sizeof(PackedWeightObject),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    slots_of_type,
};

}  // namespace

MaybeArray as_packed_weight(PyObject* slot) {
    MaybeArray found;
    if (!PyObject_TypeCheck(slot, packed_weight_type)) return found;
    const PackedWeight& weight = weight_of(slot);
    if (weight.is_current()) found->set_panels(slot, weight.panels(), weight.element(), weight.shape());
    return found;
}

bool register_packed_weight_type(PyObject* module) {
    packed_weight_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
    return packed_weight_type &&
           PyModule_AddObjectRef(module, "PackedWeight", reinterpret_cast<PyObject*>(packed_weight_type)) ==
               0;
}

}  // namespace fastnorm
