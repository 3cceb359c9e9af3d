// Files and names that belong to a family of kernels, by its name.
#pragma once

#define FASTNORM_TEXT(token) #token
// clang-format off: a space would become part of the name.
#define FASTNORM_FILE(family, suffix) FASTNORM_TEXT(kernels/family.suffix)
// clang-format on
#define FASTNORM_JOIN(a, b) a##b
#define FASTNORM_FILL(family) FASTNORM_JOIN(fill_, family)
#define FASTNORM_TABLE(family) FASTNORM_JOIN(family, _kernels)
