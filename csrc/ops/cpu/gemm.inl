// C = A W^T: columns are cut over threads, and rows where there are many.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// Rows whose A block stays in the second-level cache while panels pass by.
constexpr int64_t kRowBlock = 192;

// Few rows: a pass over the weights, cut finely. Many: groups that fill the widest tile.
VAJRA_INLINE int64_t panels_at_a_time(Context& ctx, int64_t m, int64_t panels) {
  const int64_t share = panels / (num_threads(ctx) * 8);
  return m > 64 || share >= 4 ? 4 : share >= 2 ? 2 : 1;
}

template <DType W>
void gemm_as(Context& ctx, const GemmArgs& args) {
  constexpr int64_t v = k_pack(W);
  const int64_t n = args.w.n, k = args.w.k, m = args.m;
  const int64_t panels = (n + kPanel - 1) / kPanel, panel_bytes = (k + v - 1) / v * Dot<W>::kBytes;
  const int64_t blocks = (m + kRowBlock - 1) / kRowBlock;
  const int64_t group = panels_at_a_time(ctx, m, panels), groups = (panels + group - 1) / group;
  const size_t wide_bytes = size_t(wide_floats<W>(k)) * sizeof(float);
  for (int t = 0; wide_bytes && t < num_threads(ctx); ++t) scratch(ctx, t, wide_bytes);
  parallel_for(ctx, blocks * groups, 1, [&](int64_t begin, int64_t end, int thread) {
    float* wide = wide_bytes ? static_cast<float*>(scratch(ctx, thread, wide_bytes)) : nullptr;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row0 = item / groups * kRowBlock, p0 = item % groups * group;
      const int count = int(p0 + group < panels ? group : panels - p0);
      const char* b[4];
      for (int p = 0; p < count; ++p) b[p] = static_cast<const char*>(args.w.data) + (p0 + p) * panel_bytes;
      Product x;
      x.a = static_cast<const char*>(args.a) + row0 * args.lda * int64_t(dtype_size(act_dtype(W)));
      x.lda = args.lda * int64_t(dtype_size(act_dtype(W)));
      x.b = b;
      x.b_ld = count;
      x.last_steps = k / v;
      x.b_stride = Dot<W>::kBytes;
      x.half_step = k % v != 0;
      x.c = args.c + row0 * args.ldc + p0 * kPanel;
      x.ldc = args.ldc;
      x.bias = args.bias ? args.bias + p0 * kPanel : nullptr;
      x.accumulate = args.accumulate;
      x.wide = wide;
      // Measured with weights in memory: a lone thread reads a single stream best, several threads wide ones.
      x.abreast = num_threads(ctx) == 1 ? 1 : 4;
      x.lanes = p0 + count == panels ? int(n - (panels - 1) * kPanel) : kPanel;
      product<W>(x, row0 + kRowBlock < m ? kRowBlock : m - row0, count);
    }
  });
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
