// Where the compiler has no fuzzer: runs a fuzz target on the files given, then on random bytes for a time.
//
//     fuzz_plan [-max_total_time=SECONDS] [-seed=NUMBER] FILE_OR_FOLDER...
//
// The input that ends the process is left in the file crash-latest.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

void try_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::fprintf(stderr, "%s\n", path.c_str());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

// The value of an option "-name=value", or null.
const char* value_of(const std::string& argument, const std::string& name) {
    const std::string start = "-" + name + "=";
    return argument.compare(0, start.size(), start) == 0 ? argument.c_str() + start.size() : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = 0;
    std::uint64_t seed = 0, count = 0;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (const char* const time = value_of(argument, "max_total_time")) {
            seconds = std::atof(time);
        } else if (const char* const start = value_of(argument, "seed")) {
            seed = std::strtoull(start, nullptr, 10);
        } else if (std::filesystem::is_directory(argument)) {
            for (const auto& entry : std::filesystem::directory_iterator(argument))
                try_file(entry.path()), ++count;
        } else {
            try_file(argument), ++count;
        }
    }
    std::mt19937_64 random(seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    for (; std::chrono::steady_clock::now() < end; ++count) {
        Bytes bytes(64 + random() % 64);
        for (std::uint8_t& byte : bytes) byte = std::uint8_t(random());
        std::ofstream("crash-latest", std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::remove("crash-latest");
    std::printf("%llu inputs passed\n", static_cast<unsigned long long>(count));
}
