#include "../runtime/cpu.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"

#if defined(__linux__)
#include <sched.h>
#endif

using namespace fastnorm;

namespace {

// A directory that disappears with the object.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "fastnorm_test_XXXXXX").string();
        path_ = mkdtemp(pattern.data());
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    const std::string& path() const { return path_; }
    void write(const std::string& file, const std::string& text) const {
        const std::filesystem::path full = std::filesystem::path(path_) / file;
        std::filesystem::create_directories(full.parent_path());
        std::ofstream(full) << text;
    }

private:
    std::string path_;
};

constexpr std::uint32_t bits(std::initializer_list<int> indices) {
    std::uint32_t word = 0;
    for (const int index : indices) word |= 1u << index;
    return word;
}

void test_features_need_processor_and_system() {
    constexpr std::uint32_t fma = bits({12}), osxsave = bits({27}), avx = bits({28}), f16c = bits({29});
    constexpr std::uint32_t all_ecx = fma | osxsave | avx | f16c;
    constexpr std::uint32_t avx2 = bits({5}), f = bits({16}), dq = bits({17}), bw = bits({30}),
                            vl = bits({31});
    constexpr std::uint32_t all_ebx = avx2 | f | dq | bw | vl;
    constexpr std::uint64_t ymm = 0x7, zmm = 0xE7;

    const auto features = [](std::uint32_t ecx, std::uint32_t ebx, std::uint64_t xcr0) {
        return features_from({ecx, ebx, xcr0});
    };
    CHECK(features(all_ecx, all_ebx, zmm).avx2_fma_f16c);
    CHECK(features(all_ecx, all_ebx, zmm).avx512);
    for (const std::uint32_t missing : {fma, osxsave, avx, f16c}) {
        CHECK(!features(all_ecx & ~missing, all_ebx, zmm).avx2_fma_f16c);
        CHECK(!features(all_ecx & ~missing, all_ebx, zmm).avx512);
    }
    CHECK(!features(all_ecx, all_ebx & ~avx2, zmm).avx2_fma_f16c);
    for (const std::uint32_t missing : {f, dq, bw, vl}) {
        CHECK(features(all_ecx, all_ebx & ~missing, zmm).avx2_fma_f16c);
        CHECK(!features(all_ecx, all_ebx & ~missing, zmm).avx512);
    }
    // The system saves the ymm registers only, or neither.
    CHECK(features(all_ecx, all_ebx, ymm).avx2_fma_f16c);
    CHECK(!features(all_ecx, all_ebx, ymm).avx512);
    CHECK(!features(all_ecx, all_ebx, 0x3).avx2_fma_f16c);
    CHECK(!features(all_ecx, all_ebx, 0).avx2_fma_f16c);
    CHECK(!features(0, 0, 0).neon);
}

void test_detection_agrees_with_the_compiler() {
    const CpuFeatures found = detect_cpu();
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse2")) return;  // a compiler's library that finds nothing
    CHECK(found.avx2_fma_f16c == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
    CHECK(
        found.avx512 == (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    );
#elif defined(__aarch64__)
    CHECK(found.neon);
#endif
    CHECK(!(found.neon && found.avx2_fma_f16c));
}

void test_cache_sizes() {
    const CacheSizes& sizes = cache_sizes();
    CHECK(sizes.l1d >= (8u << 10) && sizes.l1d <= (1u << 20));
    CHECK(sizes.l2 >= sizes.l1d);
    CHECK(sizes.l3 >= sizes.l2);
    CHECK(&sizes == &cache_sizes());

    const CacheSizes from_sys = cache_sizes_from_sys("/sys/devices/system/cpu/cpu0/cache");
    if (from_sys.l1d != 0) CHECK(from_sys.l1d == sizes.l1d);
    if (from_sys.l3 != 0) CHECK(from_sys.l3 == sizes.l3);
}

void test_cache_sizes_from_sys() {
    const TemporaryDirectory sys;
    using Text = const std::string&;
    const auto add = [&](Text index, Text level, Text type, Text size) {
        sys.write(index + "/level", level + "\n");
        sys.write(index + "/type", type + "\n");
        sys.write(index + "/size", size + "\n");
    };
    CHECK(cache_sizes_from_sys(sys.path()).l1d == 0);
    add("index0", "1", "Data", "48K");
    add("index1", "1", "Instruction", "32K");
    add("index2", "2", "Unified", "1280K");
    add("index3", "3", "Unified", "48M");
    const CacheSizes sizes = cache_sizes_from_sys(sys.path());
    CHECK(sizes.l1d == 48u << 10);
    CHECK(sizes.l2 == 1280u << 10);
    CHECK(sizes.l3 == 48u << 20);
    add("index3", "3", "Unified", "rubbish");
    CHECK(cache_sizes_from_sys(sys.path()).l3 == 0);
}

void test_gaps_in_cache_sizes_are_filled() {
    const CacheSizes unknown = complete({0, 0, 0});
    CHECK(unknown.l1d == 32u << 10 && unknown.l2 == 512u << 10 && unknown.l3 == 8u << 20);
    const CacheSizes no_l3 = complete({64u << 10, 1u << 20, 0});
    CHECK(no_l3.l1d == 64u << 10 && no_l3.l2 == 1u << 20 && no_l3.l3 == 1u << 20);
    const CacheSizes only_l1 = complete({512u << 10, 0, 0});
    CHECK(only_l1.l2 == 512u << 10 && only_l1.l3 == 512u << 10);
    const CacheSizes known = complete({1, 2, 3});
    CHECK(known.l1d == 1 && known.l2 == 2 && known.l3 == 3);
}

void test_cpu_quota_v2() {
    const TemporaryDirectory cgroup;
    const auto limit = [&](const std::string& membership) {
        return cgroup_cpu_limit(membership, cgroup.path());
    };
    CHECK(limit("0::/a/b\n") == 0.0);  // nothing mounted
    const auto set_root = [&](const std::string& text) {
        cgroup.write("cpu.max", text);
        return limit("0::/\n");
    };
    CHECK(set_root("max 100000\n") == 0.0);
    CHECK(set_root("150000 100000\n") == 1.5);
    CHECK(set_root("50000 100000\n") == 0.5);
    CHECK(set_root("400000 100000") == 4.0);
    for (const char* garbage :
         {"", "\n", "150000", "abc def\n", "1e5 100000\n", "-1 100000\n", "100000 0\n", "0 100000\n",
          "150000 100000 7\n"}) {
        CHECK(set_root(garbage) == 0.0);
    }
    // The tightest along the path counts, whichever level it is at.
    set_root("800000 100000\n");
    cgroup.write("a/cpu.max", "300000 100000\n");
    cgroup.write("a/b/cpu.max", "max 100000\n");
    CHECK(limit("0::/a/b\n") == 3.0);
    CHECK(limit("0::/a/b/c/d\n") == 3.0);  // groups that are not visible here
    CHECK(limit("0::/\n") == 8.0);
    cgroup.write("a/b/cpu.max", "200000 100000\n");
    CHECK(limit("0::/a/b\n") == 2.0);
    CHECK(limit("0::/a\n") == 3.0);
    set_root("100000 100000\n");
    CHECK(limit("0::/a/b\n") == 1.0);
    // A group outside this namespace, and lines that are none.
    CHECK(cgroup_cpu_limit("0::/../..\n", cgroup.path() + "/a/b") == 2.0);
    CHECK(cgroup_cpu_limit("0::/../a/b\n", cgroup.path()) == 1.0);
    CHECK(cgroup_cpu_limit("0::/..\n", cgroup.path()) == 1.0);
    CHECK(limit("") == 0.0);
    CHECK(limit("nonsense\n\n::\n0:x\n") == 1.0);  // "::" is a v2 line with the root's path
    CHECK(limit("nonsense\n0:x\n") == 0.0);
}

// A name may hold anything but a slash and the end of a line. (Files on Windows have no such names.)
void test_names_of_groups() {
#if !defined(_WIN32)
    const TemporaryDirectory cgroup;
    cgroup.write("cpu.max", "900000 100000\n");
    for (const std::string name :
         {"a..b", "..a", "a..", "...", "user@1000.service", "two words", " ", "a:b", "0::", "back\\x2dslash",
          "tab\there", "gone (deleted)", "\xC3\xA4\xFF", "100%s"}) {
        cgroup.write("outer/" + name + "/cpu.max", "200000 100000\n");
        cgroup.write("cpu/outer/" + name + "/cpu.cfs_quota_us", "300000\n");
        cgroup.write("cpu/outer/" + name + "/cpu.cfs_period_us", "100000\n");
        CHECK(cgroup_cpu_limit("0::/outer/" + name + "\n", cgroup.path()) == 2.0);
        CHECK(cgroup_cpu_limit("0::/outer/" + name + "/inner\n", cgroup.path()) == 2.0);
        CHECK(cgroup_cpu_limit("4:cpu:/outer/" + name + "\n", cgroup.path()) == 3.0);
    }
    // Of a group that has been removed, those around it count.
    CHECK(cgroup_cpu_limit("0::/outer/a..b/removed (deleted)\n", cgroup.path()) == 2.0);
    CHECK(cgroup_cpu_limit("0::/removed (deleted)\n", cgroup.path()) == 9.0);
#endif
}

void test_cpu_quota_v1() {
    const TemporaryDirectory cgroup;
    const auto limit = [&](const std::string& membership) {
        return cgroup_cpu_limit(membership, cgroup.path());
    };
    const std::string membership = "5:memory:/m\n3:cpu,cpuacct:/box\n0::/\n";
    CHECK(limit(membership) == 0.0);
    cgroup.write("cpu,cpuacct/box/cpu.cfs_quota_us", "250000\n");
    cgroup.write("cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    CHECK(limit(membership) == 2.5);
    cgroup.write("cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
    CHECK(limit(membership) == 0.0);
    cgroup.write("cpu/cpu.cfs_quota_us", "100000\n");
    cgroup.write("cpu/cpu.cfs_period_us", "50000\n");
    CHECK(limit("3:cpu:/box\n") == 2.0);
    CHECK(limit("3:cpuset:/box\n") == 0.0);
    // v1 and v2 side by side.
    cgroup.write("unified/cpu.max", "100000 100000\n");
    CHECK(limit("3:cpu:/box\n0::/\n") == 1.0);
    CHECK(limit("3:cpu:/box\n") == 2.0);
}

void test_memory_limit() {
    const TemporaryDirectory cgroup;
    const auto limit = [&](const std::string& membership) {
        return cgroup_memory_limit(membership, cgroup.path());
    };
    CHECK(limit("0::/box\n") == 0);
    cgroup.write("box/memory.max", "max\n");
    CHECK(limit("0::/box\n") == 0);
    cgroup.write("box/memory.max", "1073741824\n");
    cgroup.write("memory.max", "4294967296\n");
    CHECK(limit("0::/box\n") == std::size_t{1} << 30);
    cgroup.write("memory/box/memory.limit_in_bytes", "9223372036854771712\n");  // v1's "no limit"
    CHECK(limit("4:memory:/box\n") == 0);
    cgroup.write("memory/memory.limit_in_bytes", "536870912\n");
    CHECK(limit("4:memory:/box\n") == std::size_t{1} << 29);
    CHECK(limit("4:memory:/box\n0::/box\n") == std::size_t{1} << 29);
}

void test_cpus_within_a_limit() {
    CHECK(cpus_within(8, 0.0) == 8);
    CHECK(cpus_within(8, 100.0) == 8);
    CHECK(cpus_within(8, 8.0) == 8);
    CHECK(cpus_within(8, 7.01) == 8);
    CHECK(cpus_within(8, 2.0) == 2);
    CHECK(cpus_within(8, 1.5) == 2);
    CHECK(cpus_within(8, 0.01) == 1);
    CHECK(cpus_within(0, 0.0) == 1);
}

void test_this_machine() {
    CHECK(available_cpus() >= 1);
    CHECK(available_memory() >= (std::size_t{1} << 24));
#if defined(__linux__)
    cpu_set_t before, one;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    CHECK(available_cpus() <= static_cast<unsigned>(CPU_COUNT(&before)));
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &before)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        CHECK(available_cpus() == 1);
    }
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
#endif
}

}  // namespace

int main() {
    test_features_need_processor_and_system();
    test_detection_agrees_with_the_compiler();
    test_cache_sizes();
    test_cache_sizes_from_sys();
    test_gaps_in_cache_sizes_are_filled();
    test_cpu_quota_v2();
    test_names_of_groups();
    test_cpu_quota_v1();
    test_memory_limit();
    test_cpus_within_a_limit();
    test_this_machine();
    return check::report();
}
