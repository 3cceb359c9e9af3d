# Refuses compilers that cannot build fastnorm, before they fail on something that does not say so. What is said:
# cmake -DCMAKE_CXX_COMPILER_ID=GNU -DCMAKE_CXX_COMPILER_VERSION=8.5 -P cpp/compiler.cmake

# GCC keeps vectors of 32 and 64 bytes on a stack that 64-bit Windows aligns to 16 (bug 54412): programs crash.
if(WIN32 AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  message(FATAL_ERROR "fastnorm cannot be built with GCC on Windows, which does not align AVX registers on the "
    "stack. Use Clang or Visual Studio: set the environment variable CXX to clang-cl, or unset it.")
endif()

# GCC 11 and Clang 14 are the oldest that have been tried; the others are of the same time.
set(oldest_GNU 11)
set(oldest_Clang 14)
set(oldest_AppleClang 14)
set(oldest_MSVC 19.29)  # Visual Studio 2019
set(oldest ${oldest_${CMAKE_CXX_COMPILER_ID}})
if(oldest AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS oldest)
  string(REPLACE GNU GCC compiler ${CMAKE_CXX_COMPILER_ID})
  message(FATAL_ERROR "fastnorm needs ${compiler} ${oldest} or newer, a C++17 compiler; "
    "${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_VERSION}. Set the environment variable CXX to a newer one.")
endif()
