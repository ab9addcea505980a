#include "bindings/convert.h"

#include <stdexcept>

namespace nb = nanobind;

namespace vajra::bindings {

ops::DType dtype_from(const std::string& name) {
  if (name == "float32") return ops::DType::kF32;
  if (name == "float16") return ops::DType::kF16;
  if (name == "bfloat16") return ops::DType::kBF16;
  throw std::invalid_argument("dtype is '" + name + "'; allowed: float32, float16, bfloat16");
}

sampling::Params params_from(nb::handle s) {
  sampling::Params p;
  p.temperature = attribute<double>(s, "temperature");
  p.top_k = attribute<int32_t>(s, "top_k");
  p.top_p = attribute<double>(s, "top_p");
  p.min_p = attribute<double>(s, "min_p");
  p.repetition_penalty = float(attribute<double>(s, "repetition_penalty"));
  p.presence_penalty = float(attribute<double>(s, "presence_penalty"));
  p.frequency_penalty = float(attribute<double>(s, "frequency_penalty"));
  for (auto [key, value] : attribute<nb::dict>(s, "logit_bias")) {
    int32_t id = 0;
    double bias = 0;
    if (!nb::try_cast<int32_t>(key, id) || !nb::try_cast<double>(value, bias))
      throw std::invalid_argument("logit_bias maps token ids to numbers");
    p.logit_bias.emplace_back(id, float(bias));
  }
  p.seed = attribute<uint64_t>(s, "seed");
  p.max_tokens = attribute<int32_t>(s, "max_tokens");
  p.min_tokens = attribute<int32_t>(s, "min_tokens");
  p.stop_token_ids = attribute<std::vector<int32_t>>(s, "stop_token_ids");
  if (nb::object k = s.attr("logprobs"); !k.is_none()) {
    p.logprobs = attribute<int32_t>(s, "logprobs");
    if (p.logprobs < 0) throw std::invalid_argument("logprobs is " + std::to_string(p.logprobs) + "; it must be >= 0");
  }
  p.return_logits = attribute<bool>(s, "return_logits");
  return p;
}

}  // namespace vajra::bindings
