#include "cpu.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define FASTNORM_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#endif

namespace fastnorm {
namespace {

constexpr CacheSizes modest_caches{32u << 10, 512u << 10, 8u << 20};

constexpr bool bit(std::uint32_t word, int index) { return ((word >> index) & 1u) != 0; }

#if FASTNORM_X86

struct Cpuid {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// All zeros for a leaf that the processor does not have.
Cpuid cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    Cpuid out;
#if defined(_MSC_VER)
    int words[4];
    __cpuid(words, static_cast<int>(leaf & 0x80000000u));
    if (static_cast<std::uint32_t>(words[0]) < leaf) return out;
    __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
    out.eax = static_cast<std::uint32_t>(words[0]);
    out.ebx = static_cast<std::uint32_t>(words[1]);
    out.ecx = static_cast<std::uint32_t>(words[2]);
    out.edx = static_cast<std::uint32_t>(words[3]);
#else
    if (static_cast<std::uint32_t>(__get_cpuid_max(leaf & 0x80000000u, nullptr)) < leaf) return out;
    __cpuid_count(leaf, subleaf, out.eax, out.ebx, out.ecx, out.edx);
#endif
    return out;
}

std::uint64_t read_xcr0() {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    // By hand: the intrinsic would need this file to be compiled with -mxsave.
    std::uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

// Intel describes its caches in leaf 4, AMD (with topology extensions) in leaf 0x8000001D, in the same
// layout.
CacheSizes cache_sizes_from_cpuid() {
    constexpr int topology_extensions = 22;
    const std::uint32_t leaf = bit(cpuid(0x80000001u).ecx, topology_extensions) ? 0x8000001Du : 4u;
    CacheSizes sizes{0, 0, 0};
    for (std::uint32_t subleaf = 0; subleaf < 16; ++subleaf) {
        const Cpuid r = cpuid(leaf, subleaf);
        const std::uint32_t type = r.eax & 0x1F;
        if (type == 0) break;
        if (type == 2) continue;  // instructions only
        const std::size_t ways = (r.ebx >> 22) + 1;
        const std::size_t partitions = ((r.ebx >> 12) & 0x3FF) + 1;
        const std::size_t line = (r.ebx & 0xFFF) + 1;
        const std::size_t sets = static_cast<std::size_t>(r.ecx) + 1;
        const std::size_t bytes = ways * partitions * line * sets;
        switch ((r.eax >> 5) & 7) {
            case 1:
                sizes.l1d = bytes;
                break;
            case 2:
                sizes.l2 = bytes;
                break;
            case 3:
                sizes.l3 = bytes;
                break;
            default:
                break;
        }
    }
    return sizes;
}

#endif  // FASTNORM_X86

// The whole of a small text file; empty when it cannot be read.
std::string read_text(const std::string& path) {
    std::string text;
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) return text;
    char buffer[4096];
    std::size_t count;
    while ((count = std::fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, count);
    std::fclose(file);
    return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (;;) {
        const std::size_t end = text.find(separator, begin);
        parts.push_back(text.substr(begin, end - begin));
        if (end == std::string::npos) return parts;
        begin = end + 1;
    }
}

// The decimal number that the text holds, trailing white space allowed; 0 for anything else ("max", "-1",
// garbage), which is "no limit" to every caller. Numbers too large to represent saturate.
unsigned long long parse_limit(const std::string& text) {
    const std::string digits = text.substr(0, text.find_last_not_of(" \t\n") + 1);
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return 0;
    return std::strtoull(digits.c_str(), nullptr, 10);
}

double quotient(unsigned long long quota, unsigned long long period) {
    return quota == 0 || period == 0 ? 0.0 : static_cast<double>(quota) / static_cast<double>(period);
}

// cgroup v2: "QUOTA PERIOD" in microseconds, QUOTA being "max" where there is no limit.
double cpu_limit_v2(const std::string& directory) {
    const std::string text = read_text(directory + "/cpu.max");
    const std::size_t space = text.find(' ');
    if (space == std::string::npos) return 0.0;
    return quotient(parse_limit(text.substr(0, space)), parse_limit(text.substr(space + 1)));
}

double cpu_limit_v1(const std::string& directory) {
    return quotient(
        parse_limit(read_text(directory + "/cpu.cfs_quota_us")),
        parse_limit(read_text(directory + "/cpu.cfs_period_us"))
    );
}

double memory_limit_v2(const std::string& directory) {
    return static_cast<double>(parse_limit(read_text(directory + "/memory.max")));
}

double memory_limit_v1(const std::string& directory) {
    return static_cast<double>(parse_limit(read_text(directory + "/memory.limit_in_bytes")));
}

// 0 stands for "no limit" on both sides.
double tighter(double a, double b) {
    if (a == 0.0 || b == 0.0) return a + b;
    return std::min(a, b);
}

// A limit anywhere above the group binds it too, so every ancestor counts. In a container the path may name
// groups of the host that are not mounted here (unreadable, so skipped) and the mount's own root is the
// container's group.
template <class ReadLimit>
double tightest_on_path(const std::string& mount, std::string path, ReadLimit read_limit) {
    // Outside this cgroup namespace, whose root is what is mounted: nothing to walk. A name may hold two
    // dots.
    if ((path + "/").find("/../") != std::string::npos) path.clear();
    double limit = 0.0;
    for (;;) {
        while (!path.empty() && path.back() == '/') path.pop_back();
        limit = tighter(limit, read_limit(mount + path));
        if (path.empty()) return limit;
        path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
}

// Each line of `membership` reads "id:controllers:path"; the line of cgroup v2 has no controllers.
template <class ReadV2, class ReadV1>
double cgroup_limit(
    const std::string& membership, const std::string& root, const std::string& controller, ReadV2 read_v2,
    ReadV1 read_v1
) {
    double limit = 0.0;
    for (const std::string& line : split(membership, '\n')) {
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        if (controllers.empty()) {
            limit = tighter(limit, tightest_on_path(root, path, read_v2));
            // Where v1 and v2 are in use side by side.
            limit = tighter(limit, tightest_on_path(root + "/unified", path, read_v2));
            continue;
        }
        for (const std::string& name : split(controllers, ',')) {
            if (name != controller) continue;
            limit = tighter(limit, tightest_on_path(root + "/" + controller, path, read_v1));
            limit = tighter(limit, tightest_on_path(root + "/" + controllers, path, read_v1));
        }
    }
    return limit;
}

// What read_limit(membership, root) finds for this process; 0 also where there is no memory for the texts.
template <class ReadLimit>
auto in_own_cgroup(ReadLimit read_limit) noexcept -> decltype(read_limit("", "")) {
    try {
        return read_limit(read_text("/proc/self/cgroup"), "/sys/fs/cgroup");
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

// "48K", "32M", "1024": the sizes of /sys.
std::size_t parse_cache_size(std::string text) {
    text.resize(text.find_last_not_of(" \t\n") + 1);
    std::size_t unit = 1;
    if (!text.empty() && (text.back() == 'K' || text.back() == 'M')) {
        unit = text.back() == 'K' ? 1024u : 1024u * 1024u;
        text.pop_back();
    }
    return static_cast<std::size_t>(parse_limit(text)) * unit;
}

#if defined(__APPLE__)
// A number that macOS tells by name, 0 where it knows none. `hw.perflevel0` are the fast cores of Apple
// silicon.
std::size_t system_number(const char* name) noexcept {
    std::int64_t number = 0;  // of 4 or 8 bytes, little-endian
    std::size_t bytes = sizeof number;
    const bool known = sysctlbyname(name, &number, &bytes, nullptr, 0) == 0 && number > 0;
    return known ? static_cast<std::size_t>(number) : 0;
}
#endif

CacheSizes measure_cache_sizes() {
    CacheSizes sizes{0, 0, 0};
#if FASTNORM_X86
    sizes = cache_sizes_from_cpuid();
#elif defined(__APPLE__)
    sizes = {system_number("hw.perflevel0.l1dcachesize"), system_number("hw.perflevel0.l2cachesize"), 0};
    if (sizes.l1d == 0) sizes.l1d = system_number("hw.l1dcachesize");
    if (sizes.l2 == 0) sizes.l2 = system_number("hw.l2cachesize");
#endif
    if (sizes.l1d == 0 || sizes.l2 == 0) sizes = cache_sizes_from_sys("/sys/devices/system/cpu/cpu0/cache");
    return complete(sizes);
}

}  // namespace

CpuFeatures features_from(const CpuidRegisters& registers) {
    // XCR0: bits 1 and 2 are the xmm and ymm state, bits 5 to 7 the mask registers and the zmm state.
    constexpr std::uint64_t ymm_state = 0x06, zmm_state = 0xE6;
    const std::uint32_t ecx = registers.leaf1_ecx, ebx = registers.leaf7_ebx;
    const bool osxsave = bit(ecx, 27);
    const bool fma = bit(ecx, 12), avx = bit(ecx, 28), f16c = bit(ecx, 29), avx2 = bit(ebx, 5);
    const bool avx512_f_dq_bw_vl = bit(ebx, 16) && bit(ebx, 17) && bit(ebx, 30) && bit(ebx, 31);
    CpuFeatures features;
    features.avx2_fma_f16c =
        osxsave && avx && avx2 && fma && f16c && (registers.xcr0 & ymm_state) == ymm_state;
    features.avx512 =
        features.avx2_fma_f16c && avx512_f_dq_bw_vl && (registers.xcr0 & zmm_state) == zmm_state;
    return features;
}

CpuFeatures detect_cpu() {
    CpuFeatures features;
#if FASTNORM_X86
    constexpr int osxsave = 27;
    CpuidRegisters registers;
    registers.leaf1_ecx = cpuid(1).ecx;
    registers.leaf7_ebx = cpuid(7).ebx;
    if (bit(registers.leaf1_ecx, osxsave)) registers.xcr0 = read_xcr0();  // xgetbv faults without it
    features = features_from(registers);
#elif defined(__aarch64__) || defined(_M_ARM64)
    features.neon = true;
#endif
    return features;
}

CacheSizes cache_sizes_from_sys(const std::string& directory) {
    CacheSizes sizes{0, 0, 0};
    for (int index = 0; index < 16; ++index) {
        const std::string entry = directory + "/index" + std::to_string(index);
        const unsigned long long level = parse_limit(read_text(entry + "/level"));
        if (level == 0) break;
        if (read_text(entry + "/type").compare(0, 11, "Instruction") == 0) continue;
        const std::size_t bytes = parse_cache_size(read_text(entry + "/size"));
        if (level == 1) sizes.l1d = bytes;
        if (level == 2) sizes.l2 = bytes;
        if (level == 3) sizes.l3 = bytes;
    }
    return sizes;
}

CacheSizes complete(CacheSizes sizes) {
    if (sizes.l1d == 0 && sizes.l2 == 0 && sizes.l3 == 0) return modest_caches;
    if (sizes.l1d == 0) sizes.l1d = 32u << 10;
    if (sizes.l2 == 0) sizes.l2 = std::max<std::size_t>(sizes.l1d, 256u << 10);
    if (sizes.l3 == 0) sizes.l3 = sizes.l2;
    return sizes;
}

const CacheSizes& cache_sizes() noexcept {
    // An atomic pointer instead of a function-local static: a child forked while another thread holds the
    // guard of a static would wait for it for ever. Threads that race compute the same sizes, and one copy is
    // kept.
    static std::atomic<const CacheSizes*> known{nullptr};
    const CacheSizes* sizes = known.load(std::memory_order_acquire);
    if (sizes == nullptr) {
        const CacheSizes* measured = nullptr;
        try {
            measured = new CacheSizes(measure_cache_sizes());
        } catch (const std::bad_alloc&) {
            return modest_caches;
        }
        if (known.compare_exchange_strong(sizes, measured, std::memory_order_acq_rel)) {
            sizes = measured;
        } else {
            delete measured;
        }
    }
    return *sizes;
}

double cgroup_cpu_limit(const std::string& membership, const std::string& root) {
    return cgroup_limit(membership, root, "cpu", cpu_limit_v2, cpu_limit_v1);
}

std::size_t cgroup_memory_limit(const std::string& membership, const std::string& root) {
    const double limit = cgroup_limit(membership, root, "memory", memory_limit_v2, memory_limit_v1);
    // cgroup v1 writes "no limit" as a number near 2^63, v2 as "max".
    constexpr double beyond_memory = static_cast<double>(std::numeric_limits<std::size_t>::max() / 16);
    return limit >= beyond_memory ? 0 : static_cast<std::size_t>(limit);
}

unsigned affinity_count() noexcept {
#if defined(__linux__)
    // The kernel refuses a set smaller than its own, so grow until it fits.
    for (int processors = 1024; processors <= (1 << 20); processors *= 4) {
        cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(processors));
        if (set == nullptr) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(processors));
        const int status = sched_getaffinity(0, bytes, set);
        const bool too_small = status != 0 && errno == EINVAL;
        const int count = status == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) return static_cast<unsigned>(count);
        if (!too_small) break;
    }
#elif defined(__APPLE__)
    // Work that is cut into equal shares waits for the slowest: efficient cores are left to others.
    if (const std::size_t fast = system_number("hw.perflevel0.logicalcpu"))
        return static_cast<unsigned>(fast);
#elif defined(_WIN32)
    // Both are 0 for a process with threads in several groups of processors.
    DWORD_PTR allowed = 0, all = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &allowed, &all) && allowed != 0) {
        unsigned count = 0;
        for (; allowed != 0; allowed &= allowed - 1) ++count;
        return count;
    }
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

unsigned cpus_within(unsigned allowed, double limit) noexcept {
    if (limit == 0.0 || limit >= allowed) return std::max(1u, allowed);
    return std::max(1u, static_cast<unsigned>(std::ceil(limit)));
}

double cpu_quota() noexcept { return in_own_cgroup(cgroup_cpu_limit); }

unsigned available_cpus() noexcept { return cpus_within(affinity_count(), cpu_quota()); }

std::size_t available_memory() noexcept {
    std::size_t bytes = 0;
#if defined(_SC_PHYS_PAGES)
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) bytes = static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
#elif defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    if (GlobalMemoryStatusEx(&status)) bytes = static_cast<std::size_t>(status.ullTotalPhys);
#endif
    const std::size_t limit = in_own_cgroup(cgroup_memory_limit);
    if (bytes == 0 || limit == 0) return bytes + limit;
    return std::min(bytes, limit);
}

}  // namespace fastnorm
