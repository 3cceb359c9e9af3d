#include "runtime/dispatch.h"

#include <atomic>
#include <stdexcept>

#include "runtime/cpu.h"
#include "compiled_targets.h"  // made by the build from targets/targets.cmake

#define FASTNORM_DEFINE_TABLE(name, runs_on) FASTNORM_TARGET_TABLE(name)
FASTNORM_COMPILED_TARGETS(FASTNORM_DEFINE_TABLE)

namespace fastnorm {

namespace {

struct Target {
    const char* name;
    const KernelTable& (*table)();
    bool (*runs_on)(const CpuFeatures&);
};

// Every target that was compiled, the best first.
#define FASTNORM_TARGET_ROW(name, test) \
    {#name, name::kernel_table, []([[maybe_unused]] const CpuFeatures& cpu) { return test; }},
const Target targets[] = {FASTNORM_COMPILED_TARGETS(FASTNORM_TARGET_ROW)};

std::atomic<const Target*> active{nullptr};
std::atomic<const KernelTable*> active_table{nullptr};

void activate(const Target& target) {
    active.store(&target);
    active_table.store(&target.table());
}

}  // namespace

const KernelTable& kernels() { return *active_table.load(std::memory_order_acquire); }

std::vector<std::string> available_targets() {
    const CpuFeatures cpu = detect_cpu();
    std::vector<std::string> names;
    for (const Target& target : targets) {
        if (target.runs_on(cpu)) names.push_back(target.name);
    }
    return names;
}

std::string active_target() { return active.load()->name; }

void set_target(const std::string& name) {
    const CpuFeatures cpu = detect_cpu();
    std::string available;
    for (const Target& target : targets) {
        if (!target.runs_on(cpu)) continue;
        if (name == target.name) return activate(target);
        available += available.empty() ? target.name : std::string(", ") + target.name;
    }
    throw std::invalid_argument(
        "target '" + name + "' is not available on this machine; available: " + available
    );
}

void choose_target(const char* name) {
    set_target(name && *name ? std::string(name) : available_targets().front());
}

}  // namespace fastnorm
