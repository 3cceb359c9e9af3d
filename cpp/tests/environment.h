// Variables of the environment, set and unset while no other thread reads them.
#pragma once

#include <cstdlib>

namespace {

#if defined(_WIN32)
// Windows has no variables that are empty: such a one is unset.
inline void set_variable(const char* name, const char* value) { _putenv_s(name, value); }
inline void unset_variable(const char* name) { _putenv_s(name, ""); }
#else
inline void set_variable(const char* name, const char* value) { setenv(name, value, 1); }
inline void unset_variable(const char* name) { unsetenv(name); }
#endif

}  // namespace
