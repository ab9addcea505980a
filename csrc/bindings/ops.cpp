// The op table on numpy arrays, for tests and benchmarks: vajra.engine._native.ops. bfloat16 and float16 arrays are
// uint16 bits. Shapes are checked here, since the ops trust their caller.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.h"
#include "cpu/quota.h"
#include "ops/cpu/context.h"
#include "ops/cpu/tiles.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace vajra::bindings {
namespace {

using ops::DType;
using Array = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;

void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

DType dtype_of(const std::string& name) {
  if (name == "float32") return DType::kF32;
  if (name == "float16") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  throw std::invalid_argument("dtype " + name + ": allowed are float32, float16, bfloat16");
}

const ops::OpTable& table_of(const std::string& name) {
  for (int i = 0; i < cpu::kNumIsas; ++i) {
    if (name == cpu::isa_name(cpu::Isa(i)) && cpu::Isa(i) <= cpu::host_isa()) return ops::cpu_table(cpu::Isa(i));
  }
  if (const ops::OpTable& emulated = ops::emulated_amx_table(); name == emulated.name) return emulated;
  throw std::invalid_argument("isa " + name + ": not known, or not supported by this processor");
}

bool holds(const Array& a, DType t) {
  return a.itemsize() == ops::dtype_size(t) && (t != DType::kF32 || a.dtype() == nb::dtype<float>());
}

template <class T>
nb::ndarray<nb::numpy, T> new_array(std::vector<size_t> shape) {
  size_t n = 1;
  for (size_t s : shape) n *= s;
  T* data = new T[n]();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.data(), owner);
}

// A new array of a dtype, and where it starts.
struct Output {
  nb::object array;
  void* data;
};
Output new_output(DType t, std::vector<size_t> shape) {
  if (t == DType::kF32) {
    auto a = new_array<float>(shape);
    return {nb::cast(a), a.data()};
  }
  auto a = new_array<uint16_t>(shape);
  return {nb::cast(a), a.data()};
}

struct Buffer {
  std::vector<uint16_t> data;  // whole elements of two bytes
  explicit Buffer(size_t bytes) : data((bytes + 1) / 2) {}
};

struct Matrix {
  bool int8;
  DType dtype;
  int64_t n, k;
  Buffer buffer;

  Matrix(const std::string& t, int64_t n, int64_t k)
      : int8(t == "int8"),
        dtype(dtype_of(int8 ? "bfloat16" : t)),
        n(n),
        k(k),
        buffer(int8 ? ops::int8_bytes(n, k) : ops::packed_bytes(dtype, n, k)) {}
  void pack_rows(int64_t row0, const Array& src, const std::string& src_dtype) {
    require(src.ndim() == 2 && int64_t(src.shape(1)) == k && row0 >= 0 && row0 + int64_t(src.shape(0)) <= n,
            "pack_rows: src must be [rows, k], within the matrix");
    require(holds(src, dtype_of(src_dtype)), "pack_rows: src has another element size than src_dtype");
    void* out = buffer.data.data();
    const int64_t rows = int64_t(src.shape(0));
    if (int8) return ops::pack_int8_rows(out, n, k, row0, rows, src.data(), dtype_of(src_dtype));
    ops::pack_rows(out, dtype, n, k, row0, rows, src.data(), dtype_of(src_dtype));
  }
  ops::PackedMatrix view() const { return {buffer.data.data(), n, k, dtype, int8}; }
};

struct Pool {
  Buffer k, v;
  ops::KvPool pool;
  size_t blocks;

  Pool(const std::string& t, int num_blocks, int heads, int head_dim, int block_size)
      : k(size_t(num_blocks) * heads * head_dim * block_size * ops::dtype_size(dtype_of(t))),
        v(k),
        blocks(size_t(num_blocks)) {
    require(ops::head_dim_supported(head_dim) && ops::block_size_supported(block_size), "head_dim or block_size");
    pool = {k.data.data(), v.data.data(), heads, head_dim, block_size, num_blocks, dtype_of(t)};
  }
};

struct Sequences {
  std::vector<ops::SeqSlice> slices;
  std::vector<std::vector<int32_t>> tables;
  int64_t rows = 0;

  // (num_query, ctx_len, block table) of each sequence, rows in order.
  Sequences(const std::vector<std::tuple<int, int, std::vector<int32_t>>>& seqs, const Pool& pool) {
    tables.reserve(seqs.size());
    for (const auto& [num_query, ctx_len, table] : seqs) {
      require(num_query > 0 && num_query <= ctx_len, "sequence: num_query must be in [1, ctx_len]");
      require(int64_t(table.size()) * pool.pool.block_size >= ctx_len, "sequence: block table is too short");
      for (int32_t b : table) require(b >= 0 && size_t(b) < pool.blocks, "sequence: no such block");
      tables.push_back(table);
      slices.push_back({int32_t(rows), num_query, ctx_len, tables.back().data()});
      rows += num_query;
    }
  }
};

// A kernel family with a thread pool.
class Ops {
 public:
  Ops(const std::string& isa, int threads) : table_(table_of(isa)), context_(ops::make_cpu_context(threads)) {}

  nb::object gemm(const Array& a, const Matrix& w, std::optional<Floats> bias, std::optional<Floats> c) {
    const DType act = ops::act_dtype(w.dtype);
    require(a.ndim() == 2 && int64_t(a.shape(1)) == w.k && holds(a, act), "gemm: a must be [m, k] of the act dtype");
    require(!bias || (bias->ndim() == 1 && int64_t(bias->shape(0)) == w.n), "gemm: bias must be [n]");
    require(!c || (c->ndim() == 2 && c->shape(0) == a.shape(0) && int64_t(c->shape(1)) == w.n), "gemm: c [m, n]");
    const Output out = c ? Output{nb::cast(*c), c->data()} : new_output(DType::kF32, {a.shape(0), size_t(w.n)});
    ops::GemmArgs args{
        a.data(), int64_t(a.shape(0)), w.k, w.view(), bias ? bias->data() : nullptr, static_cast<float*>(out.data),
        w.n,      c.has_value()};
    run([&] { table_.gemm(*context_, args); });
    return out.array;
  }

  nb::object embedding(const Matrix& w, const Ints& ids) {
    for (size_t i = 0; i < ids.size(); ++i) require(ids.data()[i] >= 0 && ids.data()[i] < w.n, "embedding: id");
    const Output out = new_output(DType::kF32, {ids.size(), size_t(w.k)});
    run([&] { table_.embedding(*context_, w.view(), ids.data(), int64_t(ids.size()), static_cast<float*>(out.data)); });
    return out.array;
  }

  nb::object rmsnorm(const Floats& x, const Floats& weight, float eps, const std::string& dtype,
                     std::optional<Ints> rows) {
    require(x.ndim() == 2 && weight.ndim() == 1 && weight.shape(0) == x.shape(1), "rmsnorm: x [m, n], weight [n]");
    const size_t m = rows ? rows->size() : x.shape(0);
    const Output out = new_output(dtype_of(dtype), {m, x.shape(1)});
    run([&] {
      table_.rmsnorm(*context_, x.data(), rows ? rows->data() : nullptr, int64_t(m), int64_t(x.shape(1)), weight.data(),
                     eps, out.data, dtype_of(dtype));
    });
    return out.array;
  }

  nb::object silu_mul(const Floats& x, const std::string& dtype) {
    require(x.ndim() == 2 && x.shape(1) % 2 == 0, "silu_mul: gate_up must be [m, 2 n]");
    const Output out = new_output(dtype_of(dtype), {x.shape(0), x.shape(1) / 2});
    run([&] {
      table_.silu_mul(*context_, x.data(), int64_t(x.shape(0)), int64_t(x.shape(1) / 2), out.data, dtype_of(dtype));
    });
    return out.array;
  }

  nb::object rope_kv(const Floats& qkv, int num_heads, const Pool& pool, const Floats& cos_sin, const Sequences& seqs,
                     std::optional<Floats> q_norm, std::optional<Floats> k_norm, float eps) {
    const int d = pool.pool.head_dim;
    require(qkv.ndim() == 2 && int64_t(qkv.shape(0)) == seqs.rows &&
                int64_t(qkv.shape(1)) == (num_heads + 2 * pool.pool.num_kv_heads) * d,
            "rope_kv: qkv must be [rows, (hq + 2 hkv) d]");
    require(cos_sin.ndim() == 2 && int(cos_sin.shape(1)) == d, "rope_kv: cos_sin must be [positions, d]");
    require(!q_norm || int(q_norm->size()) == d, "rope_kv: q_norm must be [d]");
    require(!k_norm || int(k_norm->size()) == d, "rope_kv: k_norm must be [d]");
    std::vector<int32_t> positions;
    for (const ops::SeqSlice& s : seqs.slices) {
      require(s.ctx_len <= int(cos_sin.shape(0)), "rope_kv: cos_sin is too short");
      for (int i = 0; i < s.num_query; ++i) positions.push_back(s.ctx_len - s.num_query + i);
    }
    const Output q = new_output(ops::act_dtype(pool.pool.dtype), {qkv.shape(0), size_t(num_heads), size_t(d)});
    ops::RopeKvArgs args;
    args.qkv = qkv.data();
    args.m = seqs.rows;
    args.num_heads = num_heads;
    args.q_norm = q_norm ? q_norm->data() : nullptr;
    args.k_norm = k_norm ? k_norm->data() : nullptr;
    args.eps = eps;
    args.cos_sin = cos_sin.data();
    args.positions = positions.data();
    args.seqs = seqs.slices.data();
    args.num_seqs = int(seqs.slices.size());
    args.kv = pool.pool;
    args.q_out = q.data;
    run([&] { table_.rope_kv(*context_, args); });
    return q.array;
  }

  nb::tuple attention(const Array& q, const Pool& pool, const Sequences& seqs, float scale) {
    const DType act = ops::act_dtype(pool.pool.dtype);
    require(q.ndim() == 3 && holds(q, act) && int64_t(q.shape(0)) == seqs.rows &&
                int(q.shape(2)) == pool.pool.head_dim && q.shape(1) % size_t(pool.pool.num_kv_heads) == 0,
            "attention: q must be [rows, hq, d] of the act dtype");
    const Output out = new_output(act, {q.shape(0), q.shape(1), q.shape(2)});
    const Output lse = new_output(DType::kF32, {q.shape(0), q.shape(1)});
    ops::AttentionArgs args{q.data(),  int(q.shape(1)), scale,    seqs.slices.data(),           int(seqs.slices.size()),
                            seqs.rows, pool.pool,       out.data, static_cast<float*>(lse.data)};
    run([&] { table_.attention(*context_, args); });
    return nb::make_tuple(out.array, lse.array);
  }

 private:
  template <class Fn>
  void run(const Fn& fn) {
    nb::gil_scoped_release release;
    fn();
  }

  const ops::OpTable& table_;
  ops::ContextPtr context_;
};

using Bits = nb::ndarray<uint16_t, nb::c_contig, nb::device::cpu>;

// c + a b by one tile instruction.
nb::object tile_dot(const std::string& isa, const Bits& a, const Bits& b, const Floats& c) {
  require(a.ndim() == 2 && a.shape(0) >= 1 && a.shape(0) <= 16 && a.shape(1) == 32, "tile_dot: a must be [1..16, 32]");
  require(b.ndim() == 2 && b.shape(0) == 16 && b.shape(1) == 32,
          "tile_dot: b must be [16, 32]: [k / 2, (column, k % 2)]");
  require(c.ndim() == 2 && c.shape(0) == a.shape(0) && c.shape(1) == 16, "tile_dot: c must be [rows of a, 16]");
  const bool emulated = &table_of(isa) == &ops::emulated_amx_table();
  require(emulated || isa == cpu::isa_name(cpu::Isa::kAmx), "tile_dot: isa must be amx or amx-emulated");
  const Output out = new_output(DType::kF32, {c.shape(0), c.shape(1)});
  float* sums = static_cast<float*>(out.data);
  std::copy_n(c.data(), c.size(), sums);
#if defined(__x86_64__)
  if (!emulated) return ops::amx::kTileDot(a.data(), b.data(), sums, int(a.shape(0))), out.array;
#endif
  ops::amx_emulated::kTileDot(a.data(), b.data(), sums, int(a.shape(0)));
  return out.array;
}

nb::ndarray<nb::numpy, uint16_t> bits(Buffer& b, nb::handle owner) {
  const size_t n = b.data.size();
  return nb::ndarray<nb::numpy, uint16_t>(b.data.data(), 1, &n, owner);
}

}  // namespace

void bind_ops(nb::module_& parent) {
  nb::module_ m = parent.def_submodule("ops", "The op table on numpy arrays, for tests and benchmarks.");
  m.def("host_isa", [] { return cpu::isa_name(cpu::host_isa()); }, "The best kernel family of this processor.");
  m.def("selected_isa", [] { return cpu::isa_name(cpu::selected_isa()); }, "host_isa(), lowered by VAJRA_ISA.");
  m.def("amx_refusal", &cpu::amx_refusal, "Why AMX is not used on a processor that has it, or nothing.");
  m.def("tile_dot", &tile_dot, "isa"_a, "a"_a, "b"_a, "c"_a,
        "c[m, 16] + a[m, 32] b[16, 32] by one TDPBF16PS of isa amx or amx-emulated; b is [k / 2, (column, k % 2)].");
  m.def("emulated_tiles_in_use", &ops::amx_emulated::count_tiles_in_use,
        "Threads that have not released their emulated tiles.");
  m.def("usable_cpus", &cpu::usable_cpus, "root"_a = "", "Processors that affinity mask and cgroup quota allow.");

  nb::class_<Matrix>(m, "Matrix", "A packed weight [n, k]; dtype may be int8.")
      .def(nb::init<const std::string&, int64_t, int64_t>(), "dtype"_a, "n"_a, "k"_a)
      .def("pack_rows", &Matrix::pack_rows, "row0"_a, "src"_a, "src_dtype"_a)
      .def_prop_ro("bits", [](nb::handle self) { return bits(nb::cast<Matrix&>(self).buffer, self); });
  nb::class_<Pool>(m, "KvPool", "One layer's KV pages.")
      .def(nb::init<const std::string&, int, int, int, int>(), "dtype"_a, "num_blocks"_a, "num_kv_heads"_a,
           "head_dim"_a, "block_size"_a)
      .def_prop_ro("k_bits", [](nb::handle self) { return bits(nb::cast<Pool&>(self).k, self); })
      .def_prop_ro("v_bits", [](nb::handle self) { return bits(nb::cast<Pool&>(self).v, self); });
  nb::class_<Sequences>(m, "Sequences", "A step's sequences: (num_query, ctx_len, block_table) each.")
      .def(nb::init<const std::vector<std::tuple<int, int, std::vector<int32_t>>>&, const Pool&>(), "seqs"_a, "pool"_a);
  nb::class_<Ops>(m, "Ops", "A kernel family, or amx-emulated, with a thread pool.")
      .def(nb::init<const std::string&, int>(), "isa"_a, "threads"_a = 1)
      .def("gemm", &Ops::gemm, "a"_a, "w"_a, "bias"_a = nb::none(), "c"_a = nb::none(),
           "a w^T + bias; into c, added to it, where given.")
      .def("embedding", &Ops::embedding, "w"_a, "ids"_a)
      .def("rmsnorm", &Ops::rmsnorm, "x"_a, "weight"_a, "eps"_a, "dtype"_a, "rows"_a = nb::none())
      .def("silu_mul", &Ops::silu_mul, "gate_up"_a, "dtype"_a)
      .def("rope_kv", &Ops::rope_kv, "qkv"_a, "num_heads"_a, "pool"_a, "cos_sin"_a, "seqs"_a, "q_norm"_a = nb::none(),
           "k_norm"_a = nb::none(), "eps"_a = 0.0f)
      .def("attention", &Ops::attention, "q"_a, "pool"_a, "seqs"_a, "scale"_a, "(out, lse)");
}

}  // namespace vajra::bindings
