#include "cpu/quota.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace vajra::cpu {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

bool has_word(const std::string& list, const std::string& word) {
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) {
    if (item == word) return true;
  }
  return false;
}

// cgroup v2: "max 100000" or "150000 100000".
double quota_v2(const std::string& dir) {
  std::ifstream in(dir + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return kUnlimited;
  return std::stod(quota) / period;
}

double quota_v1(const std::string& dir) {
  double quota = -1, period = 0;
  std::ifstream(dir + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(dir + "/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : kUnlimited;
}

struct Mount {
  std::string root, point;  // the cgroup that is mounted, and where
  bool v2;
};

// The mounts that control CPU time, from /proc/self/mountinfo.
std::vector<Mount> cpu_mounts(const std::string& prefix) {
  std::vector<Mount> mounts;
  std::ifstream in(prefix + "/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string skip, root, point, type, source, options;
    fields >> skip >> skip >> skip >> root >> point;
    while (fields >> skip && skip != "-") {
    }
    fields >> type >> source >> options;
    if (type == "cgroup2") mounts.push_back({root, point, true});
    if (type == "cgroup" && has_word(options, "cpu")) mounts.push_back({root, point, false});
  }
  return mounts;
}

// The process's path in the hierarchy of version 2, or of version 1's cpu controller.
std::string own_path(const std::string& prefix, bool v2) {
  std::ifstream in(prefix + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? line.compare(0, 3, "0::") == 0 : has_word(controllers, "cpu")) return line.substr(second + 1);
  }
  return "/";
}

double cgroup_quota(const std::string& prefix) {
  double quota = kUnlimited;
  for (const Mount& mount : cpu_mounts(prefix)) {
    std::string path = own_path(prefix, mount.v2);
    // In a container the mount's root is the container's own cgroup, and the path may be given from the host's root.
    if (mount.root != "/" && path.compare(0, mount.root.size(), mount.root) == 0) path.erase(0, mount.root.size());
    if (path.find("..") != std::string::npos) path.clear();
    for (;;) {  // every ancestor limits its descendants
      const std::string dir = prefix + mount.point + (path == "/" ? "" : path);
      quota = std::min(quota, mount.v2 ? quota_v2(dir) : quota_v1(dir));
      const size_t slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos) break;
      path.erase(slash);
    }
  }
  return quota;
}

int affinity_cpus() {
  for (int cpus = 1024; cpus <= 1 << 16; cpus *= 2) {  // the kernel refuses a set smaller than its own
    cpu_set_t* set = CPU_ALLOC(size_t(cpus));
    const size_t size = CPU_ALLOC_SIZE(size_t(cpus));
    const bool ok = sched_getaffinity(0, size, set) == 0;
    const int count = ok ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (ok) return count;
  }
  return 1;
}

}  // namespace

int usable_cpus(const std::string& root) {
  // Rounded down: one thread too many is throttled in the middle of a step, and all others wait for it.
  const double cpus = std::min(double(affinity_cpus()), cgroup_quota(root));
  return std::max(1, int(cpus));
}

}  // namespace vajra::cpu
