// exp, typed stores, RMSNorm, SwiGLU and the embedding gather.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

template <DType T>
struct Storage {
  using Type = uint16_t;
};
template <>
struct Storage<DType::kF32> {
  using Type = float;
};

// Rounds to T and stores the first n lanes at element i.
template <DType T>
VAJRA_INLINE void store_as(void* p, int64_t i, F v, int n = kPanel) {
  if constexpr (T == DType::kF32) store_n(static_cast<float*>(p) + i, v, n);
  if constexpr (T == DType::kF16) store_f16_n(static_cast<uint16_t*>(p) + i, v, n);
  if constexpr (T == DType::kBF16) store_bf16_n(static_cast<uint16_t*>(p) + i, v, n);
}

// e^x, to 2 ulp; exactly 1 at 0; 0 below -87.3; e^88 above 88. Range reduction to [-ln 2 / 2, ln 2 / 2], then the
// degree-7 minimax polynomial of Cephes.
VAJRA_INLINE F exp(F x) {
  const F least = set1(-87.3f);
  const F y = max(least, min(set1(88.0f), x));
  const F n = round(mul(y, set1(0x1.715476p+0f)));
  F r = fma(n, set1(-0x1.62e4p-1f), y);
  r = fma(n, set1(-0x1.7f7d1cp-20f), r);
  F p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), set1(1.0f));
  return zero_below(scale2(p, n), x, least);
}

// exp of one value, by the same instructions.
VAJRA_INLINE float exp1(float x) {
  float lanes[kPanel];
  store(lanes, exp(set1(x)));
  return lanes[0];
}

// Sum of squares: four vectors in turn take 16 elements each, then they are added in pairs, then their lanes.
VAJRA_INLINE float sum_squares(const float* x, int64_t n) {
  F acc[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const F v = load(x + i + j * kPanel);
      acc[j] = fma(v, v, acc[j]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const int64_t left = n - i - j * kPanel;
    if (left <= 0) break;
    const F v = load_n(x + i + j * kPanel, left < kPanel ? int(left) : kPanel);
    acc[j] = fma(v, v, acc[j]);
  }
  return hsum(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
}

VAJRA_INLINE float rms_factor(const float* x, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(sum_squares(x, n) / float(n) + eps);
}

template <DType T>
void rmsnorm_as(Context& ctx, const float* x, const int32_t* rows, int64_t m, int64_t n, const float* weight, float eps,
                void* out) {
  parallel_for(ctx, m, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = x + (rows ? rows[i] : i) * n;
      const F factor = set1(rms_factor(row, n, eps));
      for (int64_t j = 0; j < n; j += kPanel) {
        const int lanes = n - j < kPanel ? int(n - j) : kPanel;
        store_as<T>(out, i * n + j, mul(mul(load_n(row + j, lanes), factor), load_n(weight + j, lanes)), lanes);
      }
    }
  });
}

void rmsnorm(Context& ctx, const float* x, const int32_t* rows, int64_t m, int64_t n, const float* weight, float eps,
             void* out, DType out_dtype) {
  if (out_dtype == DType::kBF16) return rmsnorm_as<DType::kBF16>(ctx, x, rows, m, n, weight, eps, out);
  rmsnorm_as<DType::kF32>(ctx, x, rows, m, n, weight, eps, out);
}

template <DType T>
void silu_mul_as(Context& ctx, const float* gate_up, int64_t m, int64_t n, void* out) {
  constexpr int64_t kRun = 1024;  // columns per item: a lone row is shared, too
  const int64_t runs = (n + kRun - 1) / kRun;
  parallel_for(ctx, m * runs, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t i = item / runs, j0 = item % runs * kRun, j1 = j0 + kRun < n ? j0 + kRun : n;
      const float *gate = gate_up + i * 2 * n, *up = gate + n;
      for (int64_t j = j0; j < j1; j += kPanel) {
        const int lanes = j1 - j < kPanel ? int(j1 - j) : kPanel;
        const F g = load_n(gate + j, lanes), u = load_n(up + j, lanes);
        const F silu = div(g, add(set1(1.0f), exp(sub(zero(), g))));
        store_as<T>(out, i * n + j, mul(silu, u), lanes);
      }
    }
  });
}

void silu_mul(Context& ctx, const float* gate_up, int64_t m, int64_t n, void* out, DType out_dtype) {
  if (out_dtype == DType::kBF16) return silu_mul_as<DType::kBF16>(ctx, gate_up, m, n, out);
  silu_mul_as<DType::kF32>(ctx, gate_up, m, n, out);
}

// Row `id` of an int8 table: q * scale, rounded once.
VAJRA_INLINE void embed_int8(const PackedMatrix& table, int64_t id, float* row) {
  const int lane = int(id % kPanel);
  const char* group = static_cast<const char*>(table.data) + id / kPanel * int64_t(int8_bytes(kPanel, table.k));
  for (int64_t k0 = 0; k0 < table.k; k0 += kInt8Group, group += kInt8GroupBytes) {
    const float scale = reinterpret_cast<const float*>(group)[lane];
    const signed char* q = reinterpret_cast<const signed char*>(group) + kPanel * sizeof(float);
    const int len = table.k - k0 < kInt8Group ? int(table.k - k0) : kInt8Group;
    for (int j = 0; j < len; ++j) row[k0 + j] = float(q[int8_place(j, lane)]) * scale;
  }
}

void embedding(Context& ctx, const PackedMatrix& table, const int32_t* ids, int64_t m, float* out) {
  const int64_t hidden = table.k, v = k_pack(table.dtype), steps = (hidden + v - 1) / v;
  parallel_for(ctx, m, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = (ids[i] / kPanel * steps * kPanel + ids[i] % kPanel) * v;
      float* row = out + i * hidden;
      if (table.int8) {
        embed_int8(table, ids[i], row);
      } else if (table.dtype == DType::kF32) {
        const float* src = static_cast<const float*>(table.data) + first;
        for (int64_t j = 0; j < hidden; ++j) row[j] = src[j * kPanel];
      } else if (table.dtype == DType::kF16) {
        const uint16_t* src = static_cast<const uint16_t*>(table.data) + first;
        for (int64_t j = 0; j < hidden; ++j) row[j] = f16_to_f32(src[j * kPanel]);
      } else {
        const uint16_t* src = static_cast<const uint16_t*>(table.data) + first;
        for (int64_t j = 0; j < hidden; ++j) row[j] = bf16_to_f32(src[j / 2 * 2 * kPanel + j % 2]);
      }
    }
  });
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
