// A model's weights, packed into one contiguous arena: private memory filled tensor by tensor, or a cache file that
// is written once and then mapped read-only by every worker.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/config.h"
#include "engine/mapping.h"

namespace vajra::engine {

struct LayerWeights {
  ops::PackedMatrix qkv, o, gate_up, down;
  const float *input_norm = nullptr, *post_norm = nullptr;
  const float *qkv_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
};

struct ModelWeights {
  ops::PackedMatrix embed, lm_head;  // the same matrix when tied
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
};

// Where one checkpoint tensor goes: rows [row0, row0 + rows) of a matrix of height n, or a float32 vector (k == 0).
struct Slot {
  std::string name;  // Hugging Face's
  size_t offset = 0;
  int64_t n = 0, k = 0, row0 = 0, rows = 0;
};

// The arena's layout: a function of the config alone.
struct Layout {
  explicit Layout(const ModelConfig& config);
  std::vector<Slot> slots;
  size_t bytes = 0;
};

class Weights {
 public:
  // A private arena to be filled by `put`.
  static std::unique_ptr<Weights> in_memory(const ModelConfig& config);
  // A new cache file at `path` to be filled by `put` and closed by `seal`, which the caller then renames into place.
  static std::unique_ptr<Weights> in_new_file(const ModelConfig& config, const std::string& path,
                                              const std::string& descriptor);
  // A sealed cache file; throws std::runtime_error when it is not one of this model and descriptor.
  static std::unique_ptr<Weights> from_file(const ModelConfig& config, const std::string& path,
                                            const std::string& descriptor);

  // Names of the tensors still missing, in the order of the arena.
  std::vector<std::string> missing() const;
  // Packs one tensor, [rows, cols] or [rows] with cols 0. Throws std::invalid_argument naming it when it does not fit.
  void put(const std::string& name, const void* data, ops::DType dtype, int64_t rows, int64_t cols);
  // Completes a new cache file: from here on it is valid on disk.
  void seal();

  const ModelConfig& config() const { return config_; }
  // Throws std::runtime_error naming the first missing tensor.
  ModelWeights view() const;
  size_t bytes() const { return layout_.bytes; }
  // A hash of the packed bits, for models without a content key.
  uint64_t content_hash() const;

 private:
  Weights(const ModelConfig& config, std::string descriptor);
  std::byte* arena() const { return mapping_.data() + header_; }

  ModelConfig config_;
  Layout layout_;
  std::string descriptor_;
  Mapping mapping_;
  size_t header_ = 0;  // bytes before the arena
  bool writable_ = false;
  std::unordered_map<std::string, const Slot*> wanted_;  // not yet put
};

}  // namespace vajra::engine
