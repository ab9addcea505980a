// What this processor can run, and which kernel family to run on it.
#pragma once

namespace vajra::cpu {

// Kernel families, each able to run wherever a later one can. AMX comes after kAvx512.
enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2 };

inline constexpr int kNumIsas = 3;

// "scalar", "avx2" (AVX2, FMA, F16C) or "avx512" (AVX-512 F, BW, VL, DQ and BF16).
const char* isa_name(Isa isa);

// The best family that processor and operating system support.
Isa host_isa();

// host_isa(), lowered by the environment variable VAJRA_ISA. Throws std::invalid_argument for a value that names no
// family, or one above the host's.
Isa selected_isa();

}  // namespace vajra::cpu
