// What this processor can run, and which kernel family to run on it.
#pragma once

namespace vajra::cpu {

// Kernel families, each able to run wherever a later one can.
enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kAmx = 3 };

inline constexpr int kNumIsas = 4;

// "scalar", "avx2" (AVX2, FMA, F16C), "avx512" (AVX-512 F, BW, VL, DQ, VBMI and BF16) or "amx" (avx512's and AMX TILE
// and BF16).
const char* isa_name(Isa isa);

// The best family that processor and operating system support. The first call asks the system for AMX's registers, and
// says on stderr when it is refused them.
Isa host_isa();

// Why AMX is not used on a processor that has it; empty where it is used, or absent.
const char* amx_refusal();

// host_isa(), lowered by the environment variable VAJRA_ISA. Throws std::invalid_argument for a value that names no
// family, or one above the host's.
Isa selected_isa();

}  // namespace vajra::cpu
