//! Matrix products for rows of a prompt, in tiles: on cooperative matrices if the device has them.

use super::parts::{Grouping, launches, parts, row_table};
use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{CoopShape, KernelProfile, Strided, WG};
use crate::kernels::cost;
use crate::kernels::formats::{format_sets, with_formats, with_row_entries};
use crate::kernels::matrix::Matrix;
use crate::kernels::pass::{Pass, bind};
use crate::quant::BlockFormat;

kernels! {
    MatmulParams for "matmul" | "matmul_coop" in matmul_variants {
        ends_bases: [[u32; 4]; 4], tokens: u32, columns: u32, x_stride: u32, x_offset: u32, x_step: u32, y_stride: u32, y_offset: u32,
        base_up: u32, format_up: u32, first_expert: u32, experts: u32, used: u32, limit: f32, padding_a: u32, padding_b: u32, padding_c: u32,
    }
    DecodeRunsParams for "decode_runs" in decode_runs_variants { base: u32, columns: u32, format: u32 }
}

/// See [`record_linear`](super::record_linear).
pub fn record_matmul(pass: &mut Pass<'_>, matrices: &[&Matrix], grouping: Grouping, x: &Strided, y: &Strided) {
    let t = pass.t();
    let tile = Tile::choose(pass.profile(), t);
    let columns = matrices[0].columns;
    // The parts of a launch all read the same columns, or each part reads the group of columns after that of the part before.
    let step = u32::from(grouping != Grouping::Shared);
    for run in launches(&parts(matrices, grouping), step) {
        let params = MatmulParams {
            ends_bases: row_table(run).1,
            tokens: t,
            columns,
            x_stride: x.stride,
            x_offset: x.offset + run[0].group * columns,
            x_step: step * columns,
            y_stride: y.stride,
            y_offset: y.offset + run[0].y_row,
            ..Default::default()
        };
        let formats: Vec<_> = run.iter().map(|p| p.format).collect();
        let mut bindings = vec![tile.weights(run[0].arena)];
        bindings.extend(bind([&x.slice, &y.slice]));
        bindings.extend(pass.kernels.tables(&formats));
        let tiles = run.iter().map(|p| p.rows.div_ceil(tile.rows)).sum();
        pass.launch(tile.variant(&formats, columns, x.is_f16, y.is_f16), &params, bindings, [tiles, t.div_ceil(tile.tokens), 1]);
        pass.rec.cost(cost::linear(run, columns, grouping.rows(), (x, y), t));
    }
}

/// Records a decoding of the weights of `matrix`, which has one slice, rounded to f16 as cooperative kernels stage them. `verify` compares
/// the result. -> y (R, C rounded up to runs of 32) f32.
pub fn record_decode_runs(pass: &mut Pass<'_>, matrix: &Matrix, y: &Slice) {
    let (formats, slice) = ([matrix.format], &matrix.slices[0]);
    let params = DecodeRunsParams { base: slice.base, columns: matrix.columns, format: matrix.format as u32 };
    let bindings = [Binding::Twice(slice.arena.clone()), y.into()].into_iter().chain(pass.kernels.tables(&formats)).collect();
    pass.launch(decode_runs_variant(&formats), &params, bindings, [matrix.columns.div_ceil(32 * WG), slice.rows, 1]);
}

fn decode_runs_variant(formats: &[BlockFormat]) -> Variant {
    let variant = Variant::new("decode_runs").flag("F16").flag("RAGGED").constant("WG", WG);
    with_formats(with_runs(variant, formats), formats)
}

/// Formats that `lib/formats/runs` supports: it loads runs of weights as they are stored, and decodes them later.
const RUNS: [BlockFormat; 7] = [
    BlockFormat::F16,
    BlockFormat::Q8_0,
    BlockFormat::Q2K,
    BlockFormat::Iq2Xxs,
    BlockFormat::Q8_0x8,
    BlockFormat::Iq2Xxsx8,
    BlockFormat::Q2Kx4,
];

/// Formats of which it loads four runs at a time.
const WIDE_RUNS: [BlockFormat; 2] = [BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];
const WIDE_COLUMNS: u32 = 128;

/// Makes `variant`, which imports `lib/formats/runs`, use it for weights in `formats` if all of them allow it.
fn with_runs(variant: Variant, formats: &[BlockFormat]) -> Variant {
    variant.flag_if(!formats.iter().all(|f| RUNS.contains(f)), "DECODED")
}

/// The kernel of a matrix product, and the tile of y that one of its workgroups computes.
pub struct Tile {
    pub variant: Variant,
    /// Rows of x, which are rows of y.
    pub tokens: u32,
    /// Rows of W, which are columns of y.
    pub rows: u32,
    /// Whether operands are rounded to f16, for cooperative matrices.
    pub is_f16: bool,
}

impl Tile {
    /// The tile for experts that get `mean` rows each on average. It has some room above the mean, so that most experts need one tile only.
    /// A full large tile costs 0.7 times as much per row as a small one, but just above the small tile's size nearly half of it is empty.
    pub fn for_experts(profile: &KernelProfile, mean: u32) -> Self {
        let (roomy, few) = (mean + mean / 4, Self::few(profile));
        Self::choose(profile, if mean + mean / 32 <= few { roomy.min(few) } else { roomy })
    }

    /// The largest number of rows of a small cooperative tile.
    fn few(profile: &KernelProfile) -> u32 {
        profile.cooperative().map_or(0, |shape| 4 * shape.size)
    }

    /// The tile for matrices that are multiplied with `tokens` rows each. It is cooperative if the device has the matrices and the
    /// workgroup memory.
    pub fn choose(profile: &KernelProfile, tokens: u32) -> Self {
        let Some(shape) = profile.cooperative() else {
            return Self { variant: Variant::new("matmul"), tokens: 64, rows: 64, is_f16: false };
        };
        // With few rows the tile should have few empty ones. Most of the time then goes into decoding weights, which small workgroups do
        // best: while one waits for memory, others on the same processor go on.
        let few = Self::few(profile) >= tokens;
        let (subgroups_t, subgroups_w) = (if few { 1 } else { 2 }, 4);
        let shape = if few { CoopShape { depth: 32, ..shape } } else { shape };
        let blocks_t = tokens.div_ceil(subgroups_t * shape.size).next_power_of_two().clamp(1, 4);
        let invocations = subgroups_t * subgroups_w * shape.subgroup;
        let (tile_t, tile_w) = (subgroups_t * blocks_t * shape.size, subgroups_w * 2 * shape.size);
        let variant = shape
            .variant("matmul_coop")
            .constant("SUBGROUPS_T", subgroups_t)
            .constant("SUBGROUPS_W", subgroups_w)
            .constant("BLOCKS_T", blocks_t)
            .constant("X_PIECES", (tile_t * shape.depth / 8).div_ceil(invocations))
            .flag_if(tile_w * shape.depth == 32 * invocations, "RUN_32")
            .constant("W_PIECES", tile_w * shape.depth / 8 / invocations);
        Self { variant, tokens: tile_t, rows: tile_w, is_f16: true }
    }

    /// The variant for rows of `columns` weights in `formats`, with f16 elements of x or y where these say so.
    pub fn variant(&self, formats: &[BlockFormat], columns: u32, x_is_f16: bool, y_is_f16: bool) -> Variant {
        let variant = match self.variant.value("DEPTH") {
            Some(depth) => {
                let is_wide = formats.iter().all(|f| *f == formats[0]) && WIDE_RUNS.contains(&formats[0]);
                let held = if is_wide && self.variant.has("RUN_32") { WIDE_COLUMNS / depth } else { 1 };
                self.variant.clone().constant("HELD", held).flag_if(!columns.is_multiple_of(held * depth), "RAGGED")
            }
            None => self.variant.clone(),
        };
        let variant = variant.flag_if(x_is_f16, "X_F16").flag_if(y_is_f16, "Y_F16");
        let variant = if self.is_f16 { with_runs(variant, formats) } else { variant };
        with_row_entries(variant, formats)
    }

    /// The binding of the arena of weights. Cooperative kernels declare it twice, as words and as vectors of 16 bytes.
    pub fn weights(&self, arena: &Slice) -> Binding {
        if self.is_f16 { Binding::Twice(arena.clone()) } else { arena.into() }
    }
}

fn matmul_variants(profile: &KernelProfile) -> Vec<Variant> {
    let tiles = [16, 64, 128].map(|tokens| Tile::choose(profile, tokens));
    let tiles = if tiles[0].is_f16 { &tiles[..] } else { &tiles[..1] };
    let mut all = Vec::new();
    for formats in format_sets() {
        for (i, flags) in [&[][..], &["EXPERTS"], &["EXPERTS", "GATE_UP"]].iter().enumerate() {
            for (j, tile) in tiles.iter().enumerate() {
                let is_f16 = tile.is_f16 && (i + j) % 2 == 1;
                // Rows whose columns fill whole stages, and rows that end within a stage.
                for columns in if tile.is_f16 { &[4096, 264][..] } else { &[4096] } {
                    all.push(flags.iter().fold(tile.variant(formats, *columns, is_f16, is_f16), |v, flag| v.flag(flag)));
                }
            }
        }
    }
    all
}

fn decode_runs_variants(profile: &KernelProfile) -> Vec<Variant> {
    if profile.caps.f16 { format_sets().map(decode_runs_variant).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Caps, Cooperative};
    use crate::num::KvType;

    #[test]
    fn experts_get_large_tiles_where_small_ones_would_mostly_be_two() {
        let full = Caps { subgroup: Some(32), f16: true, invocations: 1024, workgroup_bytes: 48 << 10, ..Caps::portable() };
        let tile = |cooperative, mean| {
            let profile = KernelProfile { caps: Caps { cooperative, ..full.clone() }, kv: KvType::F16, exact: false };
            Tile::for_experts(&profile, mean).tokens
        };
        let means = [3, 20, 48, 54, 63, 64, 96, 300];
        assert_eq!(means.map(|mean| tile(Cooperative::Size16, mean)), [16, 32, 64, 64, 64, 128, 128, 128]);
        assert_eq!(means.map(|mean| tile(Cooperative::None, mean)), [64; 8], "the portable kernel has one size");
    }
}
