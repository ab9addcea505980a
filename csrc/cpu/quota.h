// How many processors this process may use.
#pragma once

#include <string>

namespace vajra::cpu {

// min(affinity mask, CPU quota of the process's cgroup and its ancestors rounded down), at least 1. `root` is
// prefixed to /proc and to the cgroup mount points (tests give a made-up tree).
int usable_cpus(const std::string& root = "");

}  // namespace vajra::cpu
