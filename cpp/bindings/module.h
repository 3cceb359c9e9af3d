// The Python functions of each family, as module.cpp registers them.
#pragma once

#include "bindings/numpy.h"

namespace fastnorm {

// A METH_FASTCALL function with the text signature that inspect.signature shows.
#define FASTNORM_METHOD(name, signature)                                       \
    {#name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(name)), \
     METH_FASTCALL | METH_KEYWORDS, #name "($module, " signature ")\n--\n\n"}

extern const PyMethodDef batch_norm_methods[];
extern const PyMethodDef group_norm_methods[];
extern const PyMethodDef moments_methods[];
extern const PyMethodDef mlp_methods[];
extern const PyMethodDef norm_methods[];
extern const PyMethodDef optim_methods[];
extern const PyMethodDef residual_norm_methods[];
extern const PyMethodDef activation_methods[];
extern const PyMethodDef softmax_methods[];
extern const PyMethodDef gate_methods[];
extern const PyMethodDef attention_methods[];
extern const PyMethodDef linear_methods[];
extern const PyMethodDef class_loss_methods[];
extern const PyMethodDef elementwise_loss_methods[];
extern const PyMethodDef memory_methods[];

}  // namespace fastnorm
