# Every target, the best first: an instruction set that the kernels are compiled for. Its header is
# cpp/simd/vec_<name>.h. PROCESSORS: those that can have it (CMAKE_SYSTEM_PROCESSOR); RUNS_ON: whether one has
# it, in terms of a CpuFeatures cpu (cpp/runtime/cpu.h); FLAGS: for compilers that take GCC's.
fastnorm_declare_target(avx512
  PROCESSORS x86_64|AMD64|amd64
  RUNS_ON cpu.avx512
  FLAGS -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
fastnorm_declare_target(avx2
  PROCESSORS x86_64|AMD64|amd64
  RUNS_ON cpu.avx2_fma_f16c
  FLAGS -mavx2 -mfma -mf16c -mbmi2)
fastnorm_declare_target(neon
  PROCESSORS aarch64|arm64|ARM64
  RUNS_ON cpu.neon)
# For the processors that are found least: small rather than fast (docs/decisions.md has the figures).
fastnorm_declare_target(baseline
  PROCESSORS .*
  RUNS_ON true
  FLAGS -Os $<$<CXX_COMPILER_ID:Clang,AppleClang>:-fno-inline-functions> -DFASTNORM_COMPACT)
