// The microkernel's bfloat16 products on tiles of 16 rows, for families that have them (tile_<family>.h).
//
// One tile instruction takes 32 k. Groups of 32 start at k = 0; the last one is filled up with zeros. So an element of
// C is one chain over groups, whatever the number of rows and wherever pages end, and the shape of B never changes.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

constexpr int kTileSteps = 16;     // k steps (pairs) of a group
constexpr int kTileRowBytes = 64;  // of a row of any tile: 16 pairs, or 16 float32
constexpr int kTileBytes = kTileSteps * kTileRowBytes;
constexpr int kMostCopied = kKvTile / 2 / kTileSteps;  // groups, of which pages may hold a part each

// Eight tiles. Two rows of tiles: C in 0 to 3, A in 4 and 5, B in 6 and 7. One row: C in 0 to 3, A in 4, B in 5 to 7.
template <int R, int P>
struct TileMap {
  static constexpr int c(int r, int p) { return 2 * r + p; }
  static constexpr int a(int r) { return 4 + r; }
  static constexpr int b(int p) { return R == 2 ? 6 + p : 5 + p % 3; }
};

template <int I>
struct Index {
  static constexpr int value = I;
};
// fn(Index<0>), ..., fn(Index<N - 1>).
template <int N, int I = 0, class Fn>
VAJRA_INLINE void for_each_index(const Fn& fn) {
  if constexpr (I < N) {
    fn(Index<I>{});
    for_each_index<N, I + 1>(fn);
  }
}

// The calling thread's shape: rows of its first and second row of tiles; zero when it has none.
static thread_local int tile_rows[2];

void release_tiles() {
  tile_release();
  tile_rows[0] = tile_rows[1] = 0;
}

// Tiles of rows0 and, unless it is zero, rows1 rows, until the thread leaves its loop.
VAJRA_INLINE void configure_tiles(int rows0, int rows1) {
  if (tile_rows[0] == rows0 && tile_rows[1] == rows1) return;
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) {
    shapes.row_bytes[i] = kTileRowBytes;
    shapes.rows[i] = uint8_t(i < 4 ? (rows1 && i >= 2 ? rows1 : rows0) : kTileSteps);
  }
  shapes.rows[4] = uint8_t(rows0);
  if (rows1) shapes.rows[5] = uint8_t(rows1);
  tile_shapes(shapes);
  tile_rows[0] = rows0;
  tile_rows[1] = rows1;
  when_leaving_loop(release_tiles);
}

// P panels of B: whole groups where they lie, then groups that had to be copied, 1024 bytes each.
template <int P>
struct TilePanels {
  const Product& x;
  bool in_place;   // every page holds whole groups
  int64_t copied;  // groups
  int tail_bytes;  // of A in the last group, where it is not whole
  alignas(64) char copies[P][kMostCopied][kTileBytes];

  explicit TilePanels(const Product& product) : x(product), in_place(x.chunks == 1 || x.chunk_steps % kTileSteps == 0) {
    const int64_t steps = (x.chunks - 1) * x.chunk_steps + x.last_steps;
    const int64_t first = in_place ? steps / kTileSteps : 0;
    tail_bytes = int(steps % kTileSteps) * 4 + (x.half_step ? 2 : 0);
    copied = steps / kTileSteps - first + (tail_bytes != 0);
    for (int p = 0; p < P; ++p) {
      for (int64_t g = 0; g < copied; ++g) copy((first + g) * kTileSteps, steps + x.half_step, p, copies[p][g]);
    }
  }

  // One group from step `s` on, of `steps` in all.
  void copy(int64_t s, int64_t steps, int p, char* out) const {
    for (int i = 0; i < kTileSteps; ++i, ++s, out += kTileRowBytes) {
      if (s >= steps) {
        __builtin_memset(out, 0, kTileRowBytes);
        continue;
      }
      int64_t chunk = 0, step = s;
      if (x.chunks > 1) {
        chunk = s / x.chunk_steps;
        step = s % x.chunk_steps;
      }
      __builtin_memcpy(out, x.b[chunk * x.b_ld + p] + step * x.b_stride, kTileRowBytes);
    }
  }
};

// C += A B for `groups` groups.
template <int R, int P>
VAJRA_INLINE void tile_groups(const char* a, int64_t lda, const char* (&b)[P], int64_t stride, int64_t groups) {
  using Map = TileMap<R, P>;
  const char* a1 = R == 2 ? a + kTileSteps * lda : a;
  for (int64_t g = 0; g < groups; ++g) {
    tile_load<Map::a(0)>(a, lda);
    if constexpr (R == 2) tile_load<Map::a(1)>(a1, lda);
    for_each_index<P>([&](auto p) __attribute__((always_inline)) {
      constexpr int kPanelIndex = decltype(p)::value;
      tile_load<Map::b(kPanelIndex)>(b[kPanelIndex], stride);
      if constexpr (R == 1) {  // B streams from memory: what comes two groups later
#pragma GCC unroll 16
        for (int i = 0; i < kTileSteps; ++i) prefetch(b[kPanelIndex] + (2 * kTileSteps + i) * stride);
      }
      b[kPanelIndex] += kTileSteps * stride;
      for_each_index<R>([&](auto r) __attribute__((always_inline)) {
        tile_dot<Map::c(decltype(r)::value, kPanelIndex), Map::a(decltype(r)::value), Map::b(kPanelIndex)>();
      });
    });
    a += kTileRowBytes;
    a1 += kTileRowBytes;
  }
}

// One tile of C into its place: sum, bias, and what was there are added as in every family.
template <int Tile>
VAJRA_INLINE void store_c(const Product& x, int64_t row0, int rows, int p, int lanes) {
  float* c = x.c + row0 * x.ldc + p * kPanel;
  if (!x.bias && !x.accumulate && lanes == kPanel) return tile_store<Tile>(c, x.ldc * int64_t(sizeof(float)));
  alignas(64) float sums[kTileSteps][kPanel];
  tile_store<Tile>(sums[0], sizeof sums[0]);
  for (int r = 0; r < rows; ++r, c += x.ldc) {
    F v = load(sums[r]);
    if (x.bias) v = add(v, load_n(x.bias + p * kPanel, lanes));
    if (x.accumulate) v = add(load_n(c, lanes), v);
    store_n(c, v, lanes);
  }
}

// One block of C: R rows of tiles, P panels. rows: of each row of tiles.
template <int R, int P>
void tile_block(const TilePanels<P>& panels, int64_t row0, const int (&rows)[2]) {
  using Map = TileMap<R, P>;
  const Product& x = panels.x;
  const int64_t lda = x.lda;
  const char *a = x.a + row0 * lda, *b[P];
  for_each_index<R * P>([](auto i) __attribute__((always_inline)) {
    tile_zero<Map::c(decltype(i)::value / P, decltype(i)::value % P)>();
  });
  for (int chunk = 0; panels.in_place && chunk < x.chunks; ++chunk) {
    for (int p = 0; p < P; ++p) b[p] = x.b[chunk * x.b_ld + p];
    const int64_t groups = (chunk + 1 < x.chunks ? x.chunk_steps : x.last_steps) / kTileSteps;
    tile_groups<R, P>(a, lda, b, x.b_stride, groups);
    a += groups * kTileRowBytes;
  }
  for (int p = 0; p < P; ++p) b[p] = panels.copies[p][0];
  const int64_t whole = panels.copied - (panels.tail_bytes != 0);
  tile_groups<R, P>(a, lda, b, kTileRowBytes, whole);
  if (panels.tail_bytes) {  // what follows a row of A is not zero, and may not be there
    alignas(64) char tail[R * kTileSteps][kTileRowBytes] = {};
    a += whole * kTileRowBytes;
    for (int r = 0; r < rows[0] + rows[1]; ++r) __builtin_memcpy(tail[r], a + r * lda, size_t(panels.tail_bytes));
    tile_groups<R, P>(tail[0], kTileRowBytes, b, kTileRowBytes, 1);
  }
  for_each_index<R>([&](auto r) __attribute__((always_inline)) {
    for_each_index<P>([&](auto p) __attribute__((always_inline)) {
      constexpr int kRow = decltype(r)::value, kPanelIndex = decltype(p)::value;
      store_c<Map::c(kRow, kPanelIndex)>(x, row0 + kRow * kTileSteps, rows[kRow], kPanelIndex,
                                         kPanelIndex + 1 < P ? kPanel : x.lanes);
    });
  });
}

// P panels, for blocks of rows0 + rows1 rows each.
template <int R, int P>
void tile_columns(const Product& x, int64_t rows, const int (&block)[2]) {
  const TilePanels<P> panels(x);
  for (int64_t r = 0; r < rows; r += block[0] + block[1]) tile_block<R, P>(panels, r, block);
}

// A product whose rows are whole blocks.
void tile_blocks(const Product& x, int64_t rows, int panels, int rows0, int rows1) {
  const int block[2] = {rows0, rows1};
  configure_tiles(rows0, rows1);
  for (int p = 0; p < panels;) {
    const int left = panels - p, step = left >= 4 && !rows1 ? 4 : left >= 2 ? 2 : 1;
    Product t = part_of(x, 0, p);
    if (p + step < panels) t.lanes = kPanel;
    if (rows1) {
      (step == 2 ? tile_columns<2, 2> : tile_columns<2, 1>)(t, rows, block);
    } else {
      (step == 4 ? tile_columns<1, 4> : step == 2 ? tile_columns<1, 2> : tile_columns<1, 1>)(t, rows, block);
    }
    p += step;
  }
}

// In place of the microkernel's own. All whole blocks first: a change of shape empties the tiles.
template <>
void product<DType::kBF16>(const Product& x, int64_t rows, int panels) {
  constexpr int kBlock = 2 * kTileSteps;
  const int64_t whole = rows / kBlock * kBlock;
  if (whole) tile_blocks(x, whole, panels, kTileSteps, kTileSteps);
  const int rest = int(rows - whole);
  if (rest == 0) return;
  tile_blocks(part_of(x, whole, 0), rest, panels, rest < kTileSteps ? rest : kTileSteps,
              rest > kTileSteps ? rest - kTileSteps : 0);
}

void tile_dot_once(const uint16_t* a, const uint16_t* b, float* c, int rows) {
  using Map = TileMap<1, 1>;
  configure_tiles(rows, 0);
  tile_load<Map::c(0, 0)>(reinterpret_cast<const char*>(c), kTileRowBytes);
  tile_load<Map::a(0)>(reinterpret_cast<const char*>(a), kTileRowBytes);
  tile_load<Map::b(0)>(reinterpret_cast<const char*>(b), kTileRowBytes);
  tile_dot<Map::c(0, 0), Map::a(0), Map::b(0)>();
  tile_store<Map::c(0, 0)>(c, kTileRowBytes);
  release_tiles();
}

}  // namespace

const TileDotFn kTileDot = tile_dot_once;

}  // namespace vajra::ops::VAJRA_ISA_NS
