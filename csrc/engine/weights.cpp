#include "engine/weights.h"

#include <sys/mman.h>

#include <cstring>
#include <stdexcept>

namespace vajra::engine {
namespace {

// A cache file starts with one page: magic, sizes, then the descriptor in plain text, so that `head -c 4096` tells.
constexpr size_t kHeaderBytes = 4096;
struct Header {
  char magic[8];
  uint64_t file_bytes;
  uint64_t descriptor_bytes;
  char descriptor[kHeaderBytes - 24];
};
static_assert(sizeof(Header) == kHeaderBytes);
constexpr char kMagic[8] = {'V', 'A', 'J', 'R', 'A', 'P', 'K', '1'};

std::string shape(int64_t rows, int64_t cols) {
  return "[" + std::to_string(rows) + (cols > 0 ? ", " + std::to_string(cols) : "") + "]";
}

float to_float(const void* data, ops::DType dtype, int64_t i) {
  if (dtype == ops::DType::kF32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  if (dtype == ops::DType::kBF16) {
    const uint32_t wide = uint32_t(bits) << 16;
    float f;
    std::memcpy(&f, &wide, sizeof f);
    return f;
  }
  _Float16 half;
  std::memcpy(&half, &bits, sizeof half);
  return float(half);
}

}  // namespace

Weights::Weights(const ModelConfig& config, std::string descriptor)
    : config_(config), layout_(config), descriptor_(std::move(descriptor)) {
  if (descriptor_.size() > sizeof(Header::descriptor)) throw std::invalid_argument("cache descriptor is too long");
}

std::unique_ptr<Weights> Weights::in_memory(const ModelConfig& config) {
  std::unique_ptr<Weights> w(new Weights(config, ""));
  w->mapping_ = Mapping::anonymous(w->layout_.bytes, true);
  w->writable_ = true;
  for (const Slot& s : w->layout_.slots) w->wanted_.emplace(s.name, &s);
  return w;
}

std::unique_ptr<Weights> Weights::in_new_file(const ModelConfig& config, const std::string& path,
                                              const std::string& descriptor) {
  std::unique_ptr<Weights> w(new Weights(config, descriptor));
  w->header_ = kHeaderBytes;
  w->mapping_ = Mapping::create(path, kHeaderBytes + w->layout_.bytes);
  w->writable_ = true;
  for (const Slot& s : w->layout_.slots) w->wanted_.emplace(s.name, &s);
  return w;
}

std::unique_ptr<Weights> Weights::from_file(const ModelConfig& config, const std::string& path,
                                            const std::string& descriptor) {
  std::unique_ptr<Weights> w(new Weights(config, descriptor));
  w->header_ = kHeaderBytes;
  w->mapping_ = Mapping::file(path);
  const auto reject = [&](const char* why) { throw std::runtime_error(path + " is no usable packed model: " + why); };
  if (w->mapping_.size() < kHeaderBytes) reject("shorter than its header");
  const auto* h = reinterpret_cast<const Header*>(w->mapping_.data());
  if (std::memcmp(h->magic, kMagic, sizeof kMagic) != 0) reject("wrong magic or never completed");
  if (h->file_bytes != w->mapping_.size() || h->file_bytes != kHeaderBytes + w->layout_.bytes) reject("wrong size");
  if (h->descriptor_bytes != descriptor.size() || std::memcmp(h->descriptor, descriptor.data(), descriptor.size()) != 0)
    reject("packed from another model or by another version");
  return w;
}

std::vector<std::string> Weights::missing() const {
  std::vector<std::string> names;
  for (const Slot& s : layout_.slots)
    if (wanted_.contains(s.name)) names.push_back(s.name);
  return names;
}

void Weights::put(const std::string& name, const void* data, ops::DType dtype, int64_t rows, int64_t cols) {
  const auto it = wanted_.find(name);
  if (!writable_ || it == wanted_.end()) throw std::invalid_argument(name + " is not awaited by this model");
  const Slot& s = *it->second;
  if (rows != s.rows || cols != s.k)
    throw std::invalid_argument(name + " has shape " + shape(rows, cols) + "; the model's config asks for " +
                                shape(s.rows, s.k));
  std::byte* dst = arena() + s.offset;
  if (s.k == 0) {
    float* out = reinterpret_cast<float*>(dst) + s.row0;
    for (int64_t i = 0; i < rows; ++i) out[i] = to_float(data, dtype, i);
  } else if (config_.int8) {
    ops::pack_int8_rows(dst, s.n, s.k, s.row0, s.rows, data, dtype);
  } else {
    ops::pack_rows(dst, config_.dtype, s.n, s.k, s.row0, s.rows, data, dtype);
  }
  wanted_.erase(it);
}

void Weights::seal() {
  view();  // complete?
  auto* h = reinterpret_cast<Header*>(mapping_.data());
  h->file_bytes = mapping_.size();
  h->descriptor_bytes = descriptor_.size();
  std::memcpy(h->descriptor, descriptor_.data(), descriptor_.size());
  // The weights reach the disk before the magic that vouches for them.
  if (::msync(mapping_.data(), mapping_.size(), MS_SYNC) != 0)
    throw std::runtime_error("cannot write the weight cache");
  std::memcpy(h->magic, kMagic, sizeof kMagic);
  writable_ = false;
}

uint64_t Weights::content_hash() const {
  // Four independent multiply-rotate lanes over 64-bit words: memory speed, good enough to tell models apart.
  constexpr uint64_t kPrime = 0x9E3779B97F4A7C15u;
  uint64_t lane[4] = {1, 2, 3, 4};
  const std::byte* p = arena();
  for (size_t i = 0; i + 32 <= layout_.bytes; i += 32) {
    uint64_t word[4];
    std::memcpy(word, p + i, 32);
    for (int j = 0; j < 4; ++j) {
      lane[j] = (lane[j] ^ word[j]) * kPrime;
      lane[j] ^= lane[j] >> 29;
    }
  }
  uint64_t hash = layout_.bytes;
  for (uint64_t l : lane) hash = ((hash ^ l) * kPrime) ^ (hash >> 31);
  return hash;
}

}  // namespace vajra::engine
