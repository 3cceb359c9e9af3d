// Which target's kernels run: the best that the processor and the operating system support, or the one that
// FASTNORM_TARGET names. Chosen once, at import.
#pragma once

#include <string>
#include <vector>

#include "targets/kernel_table.h"

namespace fastnorm {

// The active table.
const KernelTable& kernels();

// Names of the targets that run here, the best first, and of the active one.
std::vector<std::string> available_targets();
std::string active_target();

// Makes the named target the active one; throws std::invalid_argument that names those available. Not meant
// for use while kernels run.
void set_target(const std::string& name);

// The choice at import: the named target where `name` (the value of FASTNORM_TARGET) is neither null nor
// empty.
void choose_target(const char* name);

}  // namespace fastnorm
