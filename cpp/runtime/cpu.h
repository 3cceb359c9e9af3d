// What this process may use of the machine: instruction sets, cache sizes, processors and memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fastnorm {

// Instruction sets that both the processor and the operating system support: an OS that does not save the
// wide registers on a context switch makes them unusable however loudly cpuid announces them.
struct CpuFeatures {
    bool avx2_fma_f16c = false;
    bool avx512 = false;  // F, BW, DQ and VL, on top of avx2_fma_f16c
    bool neon = false;    // always there on 64-bit ARM
};

CpuFeatures detect_cpu();

// Bytes of the data (or unified) caches, seen from one core; l3 is the whole shared cache. Never zero: a
// level that the machine does not have gets the size of the level below it, an unknown machine gets modest
// defaults.
struct CacheSizes {
    std::size_t l1d;
    std::size_t l2;
    std::size_t l3;
};

const CacheSizes& cache_sizes() noexcept;

// Processors that the calling thread may run on, at least 1.
unsigned affinity_count() noexcept;

// The processors that the cgroup leaves to this process; 0 where it sets no limit, or there is no memory to
// read it.
double cpu_quota() noexcept;

// Processors that a call made now may keep busy: those within affinity and quota, at least 1.
unsigned available_cpus() noexcept;

// Bytes of memory that this process may fill: the smaller of physical memory and its cgroup limit; 0 when
// unknown.
std::size_t available_memory() noexcept;

// --- Parts of the above that depend on their arguments alone, so that tests can reach every branch.

// The registers of cpuid leaves 1 and 7 (subleaf 0), and XCR0 (0 without OSXSAVE).
struct CpuidRegisters {
    std::uint32_t leaf1_ecx = 0;
    std::uint32_t leaf7_ebx = 0;
    std::uint64_t xcr0 = 0;
};
CpuFeatures features_from(const CpuidRegisters& registers);

// Reads `index*/{level,type,size}` below a directory laid out like /sys/devices/system/cpu/cpu0/cache; 0 for
// levels that are not found.
CacheSizes cache_sizes_from_sys(const std::string& directory);

// Fills the gaps that a source left (zeros) as promised at CacheSizes.
CacheSizes complete(CacheSizes sizes);

// The processors to use of `allowed` ones under a limit in processors (0: none): a part of one counts as one.
unsigned cpus_within(unsigned allowed, double limit) noexcept;

// Limits of a process whose /proc/self/cgroup reads `membership`, with the controllers mounted below `root`
// (/sys/fs/cgroup): the tightest along the path from its own group up to the root, of cgroup v2 and v1. 0: no
// limit.
double cgroup_cpu_limit(const std::string& membership, const std::string& root);
std::size_t cgroup_memory_limit(const std::string& membership, const std::string& root);

}  // namespace fastnorm
