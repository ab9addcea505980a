// Memory straight from the kernel: zeroed pages that cost nothing until touched, or a file.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace vajra::engine {

class Mapping {
 public:
  Mapping() = default;
  // Zero pages, reserved but not committed. `huge` asks for transparent huge pages.
  static Mapping anonymous(size_t bytes, bool huge = false);
  // An existing file, shared and read-only, all of it.
  static Mapping file(const std::string& path);
  // A new file of that size, its disk space allocated, shared and writable.
  static Mapping create(const std::string& path, size_t bytes);

  Mapping(Mapping&& other) noexcept { *this = std::move(other); }
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Mapping(void* data, size_t size) : data_(static_cast<std::byte*>(data)), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vajra::engine
