#include "ops/cpu/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/cpu/sampling_math.h"

namespace vajra::sampling {
namespace {

struct Candidate {
  float z;
  int32_t id;
};

// A candidate as one number, larger for a larger z and among equals for a lower id.
uint64_t key_of(float z, int64_t id) {
  const uint32_t bits = std::bit_cast<uint32_t>(z + 0.0f);  // -0 equals 0
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t(ordered) << 32 | uint32_t(~id);
}
Candidate candidate_of(uint64_t key) {
  const uint32_t ordered = uint32_t(key >> 32);
  return {std::bit_cast<float>(ordered >> 31 ? ordered ^ 0x80000000u : ~ordered), int32_t(~uint32_t(key))};
}

// Yields candidates by (z descending, id ascending), as many as are asked for: a heap over bands of z that start
// narrow at the top, since filters usually keep a handful of a large vocabulary. No z is +inf or NaN.
class Descending {
 public:
  Descending(const float* z, int64_t n, double zmax, double temperature)
      : z_(z), n_(n), zmax_(zmax), depth_(std::max(temperature, 1e-3) * 2) {
    heap_.clear();
  }

  // False when all are out. -inf never comes out.
  bool next(Candidate* c) {
    while (heap_.empty()) {
      if (exhausted_) return false;
      fill();
    }
    std::pop_heap(heap_.begin(), heap_.end());
    *c = candidate_of(heap_.back());
    heap_.pop_back();
    return true;
  }

 private:
  void fill() {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    float low = float(zmax_ - depth_);
    if (bands_++ == 6 || !(low < high_)) low = -kInf, exhausted_ = true;
    constexpr int64_t kSpan = 64;  // few spans have a candidate; the others are passed over at vector speed
    for (int64_t begin = 0; begin < n_; begin += kSpan) {
      const int64_t end = std::min(begin + kSpan, n_);
      int found = 0;
      for (int64_t i = begin; i < end; ++i) found |= int(z_[i] >= low) & int(z_[i] < high_);
      if (!found) continue;
      for (int64_t i = begin; i < end; ++i)
        if (z_[i] >= low && z_[i] < high_ && z_[i] > -kInf) heap_.push_back(key_of(z_[i], i));
    }
    std::make_heap(heap_.begin(), heap_.end());
    high_ = low;
    depth_ *= 2;
  }

  const float* z_;
  int64_t n_;
  double zmax_, depth_;
  float high_ = std::numeric_limits<float>::infinity();
  int bands_ = 0;
  bool exhausted_ = false;
  std::vector<uint64_t>& heap_ = scratch();

  static std::vector<uint64_t>& scratch() {  // one row at a time per thread
    thread_local std::vector<uint64_t> keys;
    return keys;
  }
};

// Adjusts a copy of the row, or returns the row itself when nothing is to be adjusted.
const float* adjusted(const Row& row, std::vector<float>* copy) {
  const Params& p = *row.params;
  const bool mask = row.mask_stops && !p.stop_token_ids.empty();
  if (p.logit_bias.empty() && !mask && !p.penalized()) return row.logits;
  copy->assign(row.logits, row.logits + row.vocab);
  float* z = copy->data();
  for (auto [id, bias] : p.logit_bias) z[id] += bias;
  if (mask)
    for (int32_t id : p.stop_token_ids)
      if (id < row.vocab) z[id] = -std::numeric_limits<float>::infinity();
  if (p.penalized()) {
    for (auto [id, count] : *row.counts) {
      float v = z[id];
      v = v > 0 ? v / p.repetition_penalty : v * p.repetition_penalty;
      if (count > 0) {
        v -= p.presence_penalty;
        v -= p.frequency_penalty * float(count);
      }
      z[id] = v;
    }
  }
  return z;
}

int32_t draw_unfiltered(const double* w, int64_t n, double u) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += w[i];
  const double target = u * total;
  double sum = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += w[i];
    if (w[i] > 0) last = i;
    if (sum > target) return int32_t(i);
  }
  return int32_t(last);
}

int32_t draw_filtered(const float* z, int64_t n, const Params& p, double zmax, double u) {
  const double inv_t = 1.0 / p.temperature;
  const bool limited = p.top_k > 0 && p.top_k < n, mass_over_ids = !limited && p.top_p < 1.0;
  thread_local std::vector<double> weights;
  thread_local std::vector<std::pair<int32_t, double>> kept;
  kept.clear();
  Descending order(z, n, zmax, p.temperature);
  Candidate c;
  double mass = std::numeric_limits<double>::infinity();  // top_p * T
  if (limited) {
    while (int64_t(kept.size()) < p.top_k && order.next(&c)) kept.emplace_back(c.id, exp_weight(c.z, zmax, inv_t));
    if (p.top_p < 1.0) {
      double total = 0;
      for (auto& k : kept) total += k.second;
      mass = p.top_p * total;
    }
  } else if (mass_over_ids) {
    weights.resize(size_t(n));
    exp_weights(z, n, zmax, inv_t, weights.data());
    double total = 0;
    for (double w : weights) total += w;
    mass = p.top_p * total;
  }
  const auto weight = [&](const Candidate& x) {  // the same bits either way
    return mass_over_ids ? weights[size_t(x.id)] : exp_weight(x.z, zmax, inv_t);
  };
  // Walk the order until a filter closes; `kept` is trimmed to (or grown into) what stays, with its sum.
  double sum = 0;
  size_t count = 0;
  for (;; ++count) {
    if (count == kept.size()) {
      if (limited || !order.next(&c)) break;
      kept.emplace_back(c.id, weight(c));
    }
    const double w = kept[count].second;
    if (count > 0 && (!(sum < mass) || w < p.min_p)) break;
    sum += w;
  }
  const double target = u * sum;
  double running = 0;
  size_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    running += kept[i].second;
    if (kept[i].second > 0) last = i;
    if (running > target) return kept[i].first;
  }
  return kept.empty() ? 0 : kept[last].first;
}

void add_logprobs(const Row& row, double top, Choice* choice) {
  thread_local std::vector<double> weights;
  weights.resize(size_t(row.vocab));
  exp_weights(row.logits, row.vocab, top, 1.0, weights.data());
  double sum = 0;
  for (double w : weights) sum += w;
  const double log_sum = log_of(sum);
  const auto logprob = [&](float logit) { return float(double(logit) - top - log_sum); };
  choice->logprob = logprob(row.logits[choice->token]);
  Descending order(row.logits, row.vocab, top, 1.0);
  Candidate c;
  for (int32_t k = 0; k < row.params->logprobs && order.next(&c); ++k)
    choice->logprobs.emplace_back(c.id, logprob(c.z));
}

}  // namespace

double uniform(uint64_t seed, uint64_t position) {
  uint32_t c[4] = {uint32_t(position), uint32_t(position >> 32), 0, 0};
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * c[0], b = uint64_t(0xCD9E8D57u) * c[2];
    const uint32_t next[4] = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
    std::copy(next, next + 4, c);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return double((uint64_t(c[1]) << 32 | c[0]) >> 11) * 0x1p-53;
}

Choice choose(const Row& row) {
  const Params& p = *row.params;
  thread_local std::vector<float> copy;
  thread_local std::vector<double> weights;
  Choice choice;
  const Peak raw = peak(row.logits, row.vocab);
  if (!raw.finite) {
    choice.valid = false;
    return choice;
  }
  const float* z = adjusted(row, &copy);
  const Peak top = z == row.logits ? raw : peak(z, row.vocab);
  if (p.temperature == 0 || std::isinf(top.value)) {  // all are masked, or a tiny penalty has blown one up
    choice.token = top.index;
  } else {
    const double u = uniform(p.seed, row.position);
    const bool filtered = (p.top_k > 0 && p.top_k < row.vocab) || p.top_p < 1.0 || p.min_p > 0;
    if (filtered) {
      choice.token = draw_filtered(z, row.vocab, p, top.value, u);
    } else {
      weights.resize(size_t(row.vocab));
      exp_weights(z, row.vocab, top.value, 1.0 / p.temperature, weights.data());
      choice.token = draw_unfiltered(weights.data(), row.vocab, u);
    }
  }
  if (p.logprobs >= 0) add_logprobs(row, raw.value, &choice);
  return choice;
}

}  // namespace vajra::sampling
