// Reading Python objects by attribute, with errors that name the attribute.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "ops/cpu/sampling.h"
#include "ops/ops.h"

namespace vajra::bindings {

ops::DType dtype_from(const std::string& name);
sampling::Params params_from(nanobind::handle sampling_params);

template <class T>
T attribute(nanobind::handle object, const char* name) {
  nanobind::object value = object.attr(name);
  T out;
  if (!nanobind::try_cast<T>(value, out)) {
    const std::string repr = nanobind::cast<std::string>(nanobind::repr(value));
    throw nanobind::value_error((std::string(name) + " = " + repr + " has the wrong type or range").c_str());
  }
  return out;
}

}  // namespace vajra::bindings
