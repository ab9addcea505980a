#include "ops/cpu/vec_scalar.h"
//
#include "ops/cpu/kernels.inl"
