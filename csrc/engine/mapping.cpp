#include "engine/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace vajra::engine {
namespace {

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

Mapping Mapping::anonymous(size_t bytes, bool huge) {
  if (bytes == 0) return {};
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail(errno, "cannot map " + std::to_string(bytes) + " bytes of memory");
  if (huge) ::madvise(p, bytes, MADV_HUGEPAGE);  // advice only: without it pages are merely small
  return {p, bytes};
}

Mapping Mapping::file(const std::string& path) {
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (fd.fd < 0) fail(errno, "cannot open " + path);
  struct stat st {};
  if (::fstat(fd.fd, &st) != 0) fail(errno, "cannot stat " + path);
  if (st.st_size == 0) return {};
  void* p = ::mmap(nullptr, size_t(st.st_size), PROT_READ, MAP_SHARED, fd.fd, 0);
  if (p == MAP_FAILED) fail(errno, "cannot map " + path);
  ::madvise(p, size_t(st.st_size), MADV_WILLNEED);
  return {p, size_t(st.st_size)};
}

Mapping Mapping::create(const std::string& path, size_t bytes) {
  Fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (fd.fd < 0) fail(errno, "cannot create " + path);
  // Allocated now, since a full disk under a mapping would be a SIGBUS later.
  if (int error = ::posix_fallocate(fd.fd, 0, off_t(bytes)); error != 0)
    fail(error, "cannot allocate " + std::to_string(bytes) + " bytes for " + path);
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.fd, 0);
  if (p == MAP_FAILED) fail(errno, "cannot map " + path);
  return {p, bytes};
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace vajra::engine
