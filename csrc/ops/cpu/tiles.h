// Single tile instructions on plain arrays, for tests: those of the processor, and their emulation.
#pragma once

#include <cstdint>

namespace vajra::ops {

// c[rows][16] += a[rows][16 pairs] b[16][16 pairs] by one TDPBF16PS; rows in [1, 16]. The processor must support AMX.
using TileDotFn = void (*)(const uint16_t* a, const uint16_t* b, float* c, int rows);

namespace amx {
extern const TileDotFn kTileDot;
}
namespace amx_emulated {
extern const TileDotFn kTileDot;
int count_tiles_in_use();  // threads that have not released theirs
}  // namespace amx_emulated

}  // namespace vajra::ops
