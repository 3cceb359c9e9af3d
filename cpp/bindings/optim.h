// The rule of an optimiser as Python hands it over.
#pragma once

#include <vector>

#include "bindings/arrays.h"
#include "bindings/overlap.h"
#include "plan/optim.h"

namespace fastnorm {

// fastnorm._arguments.optim.Rule, recognised: the rule, and the state of the parameters, whose memory, sizes
// and types are set. False where it is none, or its state does not fit (no error is set).
bool as_rule(PyObject* slot, OptimizerRule& rule, std::vector<OptimizedParameter>& parameters);

// Whether what an update writes, contiguous parameters and their state, is apart from each other and from
// what is read.
bool are_written_apart(const std::vector<OptimizedParameter>& parameters, const std::vector<Extent>& read);

}  // namespace fastnorm
