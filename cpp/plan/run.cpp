#include "plan/run.h"

#include <utility>

namespace fastnorm {

namespace {

thread_local Poll* poll_of_thread = nullptr;

}  // namespace

Poll* current_poll() noexcept { return poll_of_thread; }

Poll* set_poll(Poll* poll) noexcept { return std::exchange(poll_of_thread, poll); }

}  // namespace fastnorm
