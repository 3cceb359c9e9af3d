// What the bindings of the channel norms share.
#pragma once

#include "bindings/elementwise.h"
#include "plan/channels.h"

namespace fastnorm {

bool as_channel_axis(PyObject* slot, int ndim, Axes& axes);

// A new gradient of a parameter, None where it was not given; `values` its memory. Empty with an error set
// where there is none.
Reference channel_gradient_like(const Parameter& parameter, const Array& x, const Axes& axes, void*& values);
void clear_gradient(const Reference& gradient);

}  // namespace fastnorm
