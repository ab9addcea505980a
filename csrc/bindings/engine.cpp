#include "engine/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/unique_ptr.h>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "cpu/cpuid.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace vajra::bindings {
namespace {

using engine::Engine;
using engine::ModelConfig;
using engine::Options;
using engine::Step;
using engine::StepOutput;
using engine::Weights;

ModelConfig config_from(nb::handle spec) {
  ModelConfig c;
  c.vocab_size = attribute<int64_t>(spec, "vocab_size");
  c.hidden_size = attribute<int64_t>(spec, "hidden_size");
  c.intermediate_size = attribute<int64_t>(spec, "intermediate_size");
  c.num_layers = attribute<int>(spec, "num_layers");
  c.num_heads = attribute<int>(spec, "num_heads");
  c.num_kv_heads = attribute<int>(spec, "num_kv_heads");
  c.head_dim = attribute<int>(spec, "head_dim");
  c.rms_norm_eps = float(attribute<double>(spec, "rms_norm_eps"));
  c.tie_embeddings = attribute<bool>(spec, "tie_embeddings");
  c.qkv_bias = attribute<bool>(spec, "qkv_bias");
  c.qk_norm = attribute<bool>(spec, "qk_norm");
  c.dtype = dtype_from(attribute<std::string>(spec, "dtype"));
  const std::string quantization = attribute<std::string>(spec, "quantization");
  if (quantization != "none" && quantization != "int8")
    throw std::invalid_argument("quantization is '" + quantization + "'; allowed: none, int8");
  c.int8 = quantization == "int8";
  nb::object rope = spec.attr("rope");
  for (double f : attribute<std::vector<double>>(rope, "inv_freq")) c.inv_freq.push_back(float(f));
  c.attention_factor = float(attribute<double>(rope, "attention_factor"));
  c.check();
  return c;
}

Options options_from(nb::handle o) {
  Options out;
  out.num_blocks = attribute<int64_t>(o, "num_blocks");
  out.block_size = attribute<int>(o, "block_size");
  out.max_model_len = attribute<int64_t>(o, "max_model_len");
  out.max_batch_size = attribute<int64_t>(o, "max_batch_size");
  out.max_batch_tokens = attribute<int64_t>(o, "max_batch_tokens");
  if (!nb::object(o.attr("num_threads")).is_none()) {
    out.num_threads = attribute<int>(o, "num_threads");
    if (out.num_threads == 0) throw std::invalid_argument("num_threads is 0; None follows the CPU quota");
  }
  out.check();
  return out;
}

using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

void put(Weights& weights, const std::string& name, const std::string& dtype_name, const Array& a) {
  const ops::DType dtype = dtype_from(dtype_name);
  if (a.ndim() != 1 && a.ndim() != 2)
    throw std::invalid_argument(name + " has " + std::to_string(a.ndim()) + " dimensions; 1 or 2 are expected");
  if (a.itemsize() != ops::dtype_size(dtype))
    throw std::invalid_argument(name + " has items of " + std::to_string(a.itemsize()) + " bytes, which is not " +
                                dtype_name);
  const int64_t rows = int64_t(a.shape(0)), cols = a.ndim() == 2 ? int64_t(a.shape(1)) : 0;
  nb::gil_scoped_release release;
  weights.put(name, a.data(), dtype, rows, cols);
}

// (tokens, logits, seconds): tokens are (seq_id, token, finish, logprob or None, [(id, logprob), ...]).
nb::object result(Step& step, std::optional<double> timeout) {
  bool ended = false;
  {
    nb::gil_scoped_release release;
    ended = step.wait(timeout);
  }
  if (!ended) return nb::none();
  if (!step.error().empty()) throw engine::EngineFailure(step.error());
  StepOutput& out = step.output();
  nb::list tokens;
  for (const auto& t : out.tokens) {
    const bool alternatives = !t.choice.logprobs.empty();
    tokens.append(nb::make_tuple(t.seq_id, t.choice.token, int(t.finish),
                                 t.has_logprob ? nb::cast(t.choice.logprob) : nb::none(),
                                 alternatives ? nb::cast(t.choice.logprobs) : nb::object(nb::make_tuple())));
  }
  nb::dict logits;
  for (auto& l : out.logits) {
    float* data = l.data.release();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    const size_t vocab = size_t(l.vocab), rows = size_t(l.rows);
    logits[nb::cast(l.seq_id)] = nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<2>>(data, {rows, vocab}, owner));
  }
  return nb::make_tuple(tokens, logits, out.seconds);
}

}  // namespace

void bind_engine(nb::module_& m) {
  nb::class_<ModelConfig>(m, "ModelConfig", "Shapes of a model, read from a ModelSpec and checked.")
      .def_static("from_spec", &config_from, "spec"_a)
      .def("kv_block_bytes", &ModelConfig::kv_block_bytes, "block_size"_a, "Bytes of one KV block over all layers.");

  nb::class_<Weights>(m, "Weights", "Packed weights: a private arena or a cache file.")
      .def_static("in_memory", &Weights::in_memory, "config"_a)
      .def_static("in_new_file", &Weights::in_new_file, "config"_a, "path"_a, "descriptor"_a)
      .def_static("from_file", &Weights::from_file, "config"_a, "path"_a, "descriptor"_a)
      .def("missing", &Weights::missing, "Names still to be put, in the arena's order.")
      .def("put", &put, "name"_a, "dtype"_a, "array"_a)
      .def("seal", &Weights::seal, nb::call_guard<nb::gil_scoped_release>(), "Completes a new cache file.")
      .def_prop_ro("nbytes", &Weights::bytes)
      .def("content_hash", &Weights::content_hash, nb::call_guard<nb::gil_scoped_release>());

  nb::class_<Step>(m, "Step", "A submitted step.")
      .def("done", &Step::done)
      .def("result", &result, "timeout"_a.none() = nb::none(),
           "(tokens, logits, seconds) once, or None when the time ran out; RuntimeError when the step failed.");

  nb::class_<Engine>(m, "Engine", "Sequences and a queue of steps over one model.")
      .def(
          "__init__",
          [](Engine* self, std::shared_ptr<Weights> weights, nb::object options) {
            const Options o = options_from(options);
            nb::gil_scoped_release release;
            new (self) Engine(std::move(weights), o);
          },
          "weights"_a, "options"_a)
      .def(
          "add_sequence",
          [](Engine& e, int64_t id, std::vector<int32_t> tokens, int64_t num_prompt, nb::object sampling) {
            e.add_sequence(id, std::move(tokens), num_prompt, params_from(sampling));
          },
          "seq_id"_a, "token_ids"_a, "num_prompt_tokens"_a, "sampling"_a)
      .def(
          "submit",
          [](Engine& e, int64_t step_id, nb::list items, const std::vector<int64_t>& preempted) {
            std::vector<engine::ItemRequest> requests;
            requests.reserve(items.size());
            for (nb::handle item : items)
              requests.push_back({attribute<int64_t>(item, "seq_id"), attribute<int64_t>(item, "num_query_tokens"),
                                  attribute<std::vector<int32_t>>(item, "new_block_ids")});
            return e.submit(step_id, std::move(requests), preempted);
          },
          "step_id"_a, "items"_a, "preempted"_a)
      .def("free_sequence", &Engine::free_sequence, "seq_id"_a)
      .def("close", &Engine::close, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("kernels", &Engine::kernels, "Name of the kernel family.");

  m.def(
      "isa", [] { return cpu::isa_name(cpu::selected_isa()); },
      "The kernel family that engines use: VAJRA_ISA obeyed.");
  m.attr("NUMERICS_VERSION") = engine::kNumericsVersion;
}

}  // namespace vajra::bindings
