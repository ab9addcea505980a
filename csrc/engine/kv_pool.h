// All layers' KV blocks in one reserved region; pages cost memory only once a block is written.
#pragma once

#include "engine/config.h"
#include "engine/mapping.h"

namespace vajra::engine {

class KvCache {
 public:
  KvCache(const ModelConfig& config, const Options& options) {
    pool_.num_kv_heads = config.num_kv_heads;
    pool_.head_dim = config.head_dim;
    pool_.block_size = options.block_size;
    pool_.num_blocks = options.num_blocks;
    pool_.dtype = config.dtype;
    half_bytes_ = pool_.elems() * ops::dtype_size(config.dtype);
    half_bytes_ = (half_bytes_ + 4095) / 4096 * 4096;
    memory_ = Mapping::anonymous(half_bytes_ * 2 * size_t(config.num_layers));
  }
  ops::KvPool layer(int i) const {
    ops::KvPool p = pool_;
    p.k = memory_.data() + half_bytes_ * 2 * size_t(i);
    p.v = memory_.data() + half_bytes_ * (2 * size_t(i) + 1);
    return p;
  }

 private:
  ops::KvPool pool_;
  size_t half_bytes_ = 0;  // one layer's K, or V
  Mapping memory_;
};

}  // namespace vajra::engine
