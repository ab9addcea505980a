// Parts of the module, one per source file.
#pragma once

#include <nanobind/nanobind.h>

namespace vajra::bindings {

void bind_engine(nanobind::module_& m);
void bind_ops(nanobind::module_& m);

}  // namespace vajra::bindings
