//! Hyper-connections: the residual of a sub-layer with the mix of a row's four streams, and the next sub-layer's input.

use super::int8::{Quantized, binding, quantizing};
use super::kit::{Dialect, Kit, Strided, WG, with_formats};
use super::matrix::Matrix;
use super::rows::Rows;
use crate::gpu::{Recording, Slice, Variant};
use crate::quant::BlockFormat;

params! {
    HcMixParams for "hc_mix" { base: u32, outputs: u32, dim: u32, format: u32, tokens: u32 }
    HcPreParams for "hc_pre" { rows: u32, hc_eps: f32, norm_eps: f32, padding: u32, ahead: [u32; 4] }
    HcSinkhornParams for "hc_sinkhorn" {
        dim: u32, iterations: u32, hc_eps: f32, norm_eps: f32, tokens: u32, padding_a: u32, padding_b: u32, padding_c: u32, ahead: [u32; 4],
    }
}

/// One hyper-connection set: of a sub-layer (24 outputs) or of the head (4).
#[derive(Clone, Debug)]
pub struct HcWeights {
    /// fn [24 or 4, 4D].
    pub mix: Matrix,
    /// base, then scale: 24 + 3 or 4 + 1 floats.
    pub base_scale: Slice,
    /// The norm weight that follows, D floats.
    pub norm: Slice,
}

/// Channels of each stream in a slice of a decode step's mix, where the kernel that makes them may leave it itself (`lib/hc_leave`).
pub(super) const LEAVE_SLICE: u32 = 16;

/// Channels of each stream that one workgroup of hc_mix takes. Few rows need many workgroups; of many, what counts
/// is how often sums go through reductions.
fn slice_channels(dialect: &Dialect, rows: Rows) -> u32 {
    match rows {
        Rows::Few(_) if dialect.int8() => LEAVE_SLICE,
        Rows::Few(_) => 64,
        Rows::Many(_) => 256,
    }
}

/// Floats that hc_mix leaves for each of `rows` of `dim` channels: 32 for each slice of them.
pub fn hc_mix_words(dialect: &Dialect, dim: u32, rows: Rows) -> u32 {
    dim.div_ceil(slice_channels(dialect, rows)) * 32
}

pub(super) fn hc_mix_variant(dialect: &Dialect, formats: &[BlockFormat], post: bool, step: Rows) -> (Variant, u32) {
    let slice = slice_channels(dialect, step);
    // A lane takes eight channels at least.
    let lanes = dialect.caps.subgroup.map_or(32, |size| size.min(slice / 2));
    // Rows that share their weights in registers: each of a long step takes 4 KiB of workgroup memory, and as much again without subgroups.
    let rows = match dialect.caps.subgroup {
        _ if slice == LEAVE_SLICE => step.count().next_power_of_two().min(8),
        _ if step.are_few() => 1,
        Some(_) if dialect.caps.workgroup_bytes >= 48 << 10 => 8,
        _ => 4,
    };
    // 24 outputs and the squares; eight channels of each stream at a time.
    let each = 25u32.div_ceil(WG / lanes);
    let variant = dialect
        .variant("hc_mix")
        .flag_if(post, "POST")
        .constant("LANES", lanes)
        .constant("SUMS", each * rows)
        .constant("SLICE", slice)
        .constant("OUTPUTS_EACH", each)
        .constant("ROWS", rows)
        .constant("PASSES", (slice / 2).div_ceil(lanes));
    (with_formats(variant, formats), rows)
}

/// A sub-layer's result on its way into the streams.
#[derive(Clone, Copy, Debug)]
pub struct HcPost<'a> {
    /// Weights of the residual (T, 32), as hc_sinkhorn leaves them.
    pub post: &'a Slice,
    /// The result (T, D) f32.
    pub y: &'a Slice,
    /// The streams afterwards (T, 4, D) f32.
    pub next: &'a Slice,
}

/// What record_hc_mix would be asked for behind a sub-layer, for the kernel that makes the sub-layer's result.
#[derive(Clone, Copy, Debug)]
pub struct HcLeave<'a> {
    /// Of what reads the streams next.
    pub weights: &'a HcWeights,
    /// The streams (T, 4, D) f32.
    pub x: &'a Slice,
    /// What becomes of them.
    pub residual: HcPost<'a>,
    /// Their mix (T, slices, 32).
    pub mix: &'a Slice,
}

impl HcLeave<'_> {
    /// Whether workgroups that make `rows_each` of `rows` channels can do it: whole slices.
    pub(super) fn is_for(&self, dialect: &Dialect, rows_each: u32, rows: u32, step: Rows) -> bool {
        let mix = &self.weights.mix;
        let is_whole = rows == mix.columns / 4 && rows.is_multiple_of(LEAVE_SLICE) && mix.slices.len() == 1;
        is_whole && rows_each == slice_channels(dialect, step) && mix.format == BlockFormat::F16
    }

    /// What the kernel binds.
    pub(super) fn bindings(&self) -> [Slice; 5] {
        [&self.weights.mix.slices[0].arena, self.x, self.residual.post, self.residual.next, self.mix].map(Clone::clone)
    }
}

/// `variant` of a kernel whose workgroups make [`LEAVE_SLICE`] channels of `tokens` rows each, and leave the streams too.
pub(super) fn leaving(variant: Variant, tokens: u32) -> Variant {
    let wg = variant.value("WG").unwrap_or(WG);
    variant
        .flag("LEAVE")
        .constant("OUTPUTS_EACH", 25u32.div_ceil(wg / 8))
        .constant("LEAVE_TOKENS", tokens)
        .constant("LEAVE_PIECES", (21 * tokens).div_ceil(wg))
}

/// The streams after a sub-layer, `X'[t, k] = post[k] y[t] + sum_j C[j, k] X[t, j]`, or without `residual` `X' = X`; and of them for each
/// slice of their channels `fn[o] . X'[t]`, with `|X'[t]|^2` behind the outputs. x (T, 4, D) -> mix (T, slices, 32).
pub fn record_hc_mix(
    rec: &mut Recording,
    kit: &Kit,
    weights: &HcWeights,
    x: &Slice,
    residual: Option<HcPost<'_>>,
    mix: &Slice,
    rows: Rows,
) {
    let t = rows.count();
    let matrix = &weights.mix;
    let (formats, dim) = ([matrix.format], matrix.columns / 4);
    let (variant, rows_each) = hc_mix_variant(&kit.dialect, &formats, residual.is_some(), rows);
    // A set is a few hundred KiB at most, so the loader never splits it.
    for slice in &matrix.slices {
        let params = HcMixParams { base: slice.base, outputs: matrix.rows, dim, format: matrix.format as u32, tokens: t };
        let mut bindings = vec![slice.arena.clone(), x.clone(), mix.clone()];
        bindings.extend(residual.iter().flat_map(|r| [r.post, r.y, r.next]).cloned());
        bindings.extend(kit.tables(&formats));
        rec.dispatch(variant.clone(), &params, bindings, [dim.div_ceil(slice_channels(&kit.dialect, rows)), t.div_ceil(rows_each), 1]);
        rec.cost(super::cost::hc_mix(matrix, residual.is_some(), t));
    }
}

/// hc_pre for rows of `dim` channels out of `step`, whose mix of `outputs` it reads. The workgroups of few rows have the device to
/// themselves: they are as large as the row allows.
pub(super) fn hc_pre_variant(dialect: &Dialect, (dim, outputs): (u32, u32), is_wanted: bool, step: Rows) -> Variant {
    let most = if step.are_few() { dialect.caps.invocations.min(1024) } else { WG };
    let wg = (dim / 4).next_power_of_two().clamp(WG, most.max(WG));
    let variant = dialect.sized_variant("hc_pre", wg).flag_if(is_wanted, "WANTED");
    let variant = variant.constant("OUTPUTS", outputs).constant("DIM", dim).constant("KEPT", (dim / 4).div_ceil(wg));
    gathering(dialect, variant, dim, step)
}

/// `variant` of a kernel that imports `lib/hc_mixed`.
fn gathering(dialect: &Dialect, variant: Variant, dim: u32, step: Rows) -> Variant {
    let (wg, words) = (variant.value("WG").unwrap_or(WG), hc_mix_words(dialect, dim, step));
    let parts = (wg / 32).min((words / 32).next_multiple_of(4));
    variant.constant("SLICES", words / 32).constant("GATHERED", words.div_ceil(wg)).constant("PARTS", parts)
}

/// Weights that a decode step reads soon, and whose addresses are asked for ahead.
#[derive(Clone, Debug)]
pub struct Ahead {
    arena: Slice,
    base: u32,
    bytes: u32,
}

impl Ahead {
    /// Most of them at a time.
    pub const MOST: usize = 2;

    /// What lies in one arena each of `matrices`, which are placed one after another.
    pub fn of(matrices: &[&Matrix]) -> Vec<Self> {
        let runs = matrices.chunk_by(|a, b| a.slices[0].arena.buffer.same(&b.slices[0].arena.buffer));
        let range = |run: &[&Matrix]| {
            let first = &run[0].slices[0];
            let end = run.iter().map(|m| m.slices[0].base + m.slices[0].rows * m.row_bytes()).max().unwrap_or(first.base);
            Self { arena: first.arena.clone(), base: first.base, bytes: end.saturating_sub(first.base).max(4) }
        };
        runs.take(Self::MOST).map(range).collect()
    }
}

/// `variant` of a kernel that asks for `ahead` weights.
pub(super) fn asking(variant: Variant, ahead: usize) -> Variant {
    if ahead > 0 { variant.constant("AHEAD", ahead as u32) } else { variant }
}

/// The parameter that says where `ahead` lies.
fn ranges(ahead: &[Ahead]) -> [u32; 4] {
    let mut ranges = [0; 2 * Ahead::MOST];
    ranges.chunks_exact_mut(2).zip(ahead).for_each(|(range, own)| range.copy_from_slice(&[own.base, own.bytes]));
    ranges
}

/// Rows of a step that hc_pre makes.
#[derive(Clone, Copy, Debug)]
pub enum HcRows<'a> {
    /// All of them (T).
    All(Rows),
    /// Those that a list names, `.1` of them, in a step of `.2`.
    Wanted(&'a Slice, u32, Rows),
}

/// What comes before a sub-layer or the head: its input is made of the streams.
#[derive(Clone, Copy, Debug)]
pub struct HcEnter<'a> {
    /// Of what reads the input.
    pub weights: &'a HcWeights,
    /// The mix of the streams (T, slices, 32).
    pub mix: &'a Slice,
    /// The streams (T, 4, D) f32.
    pub x: &'a Slice,
    /// The input (R, D).
    pub normed: &'a Strided,
    /// The input rounded.
    pub normed_int8: Option<&'a Quantized>,
    /// What is added to weights of streams.
    pub hc_eps: f32,
    /// Of both norms.
    pub norm_eps: f32,
    /// A word that nobody reads, so that what lies ahead has a use.
    pub unread: &'a Slice,
}

/// `N(sum_j pre[j] X[j])` for `rows`, while the weights `ahead` are asked for.
pub fn record_hc_pre(rec: &mut Recording, kit: &Kit, enter: &HcEnter<'_>, ahead: &[Ahead], rows: HcRows<'_>) {
    let (wanted, rows, step) = match rows {
        HcRows::All(step) => (None, step.count(), step),
        HcRows::Wanted(list, rows, step) => (Some(list), rows, step),
    };
    let &HcEnter { weights, mix, x, normed, normed_int8, hc_eps, norm_eps, unread } = enter;
    let (dim, outputs) = (weights.mix.columns / 4, weights.mix.rows);
    let params = HcPreParams { rows, hc_eps, norm_eps, padding: 0, ahead: ranges(ahead) };
    let own = [mix, &weights.base_scale, &weights.norm, x, &normed.slice];
    let mut bindings: Vec<Slice> = wanted.into_iter().chain(own).cloned().collect();
    if !ahead.is_empty() {
        bindings.push(unread.clone());
        bindings.extend(ahead.iter().map(|own| own.arena.clone()));
    }
    bindings.extend(binding(normed_int8));
    let variant = hc_pre_variant(&kit.dialect, (dim, outputs), wanted.is_some(), step);
    let variant = quantizing(normed.written_by(variant), normed_int8.is_some());
    rec.dispatch(asking(variant, ahead.len()), &params, bindings, [rows + u32::from(!ahead.is_empty()), 1, 1]);
    rec.cost(super::cost::floats(5 * dim, rows));
}

pub(super) fn hc_sinkhorn_variant(dialect: &Dialect, dim: u32, step: Rows) -> Variant {
    gathering(dialect, dialect.variant("hc_sinkhorn"), dim, step)
}

/// What the residual of a sub-layer needs besides its result. mix (T, slices, 32) -> post (T, 32).
pub fn record_hc_sinkhorn(
    rec: &mut Recording,
    kit: &Kit,
    weights: &HcWeights,
    mix: &Slice,
    post: &Slice,
    (iterations, hc_eps, norm_eps): (u32, f32, f32),
    ahead: &[Ahead],
    rows: Rows,
) {
    let t = rows.count();
    let (dim, ranges) = (weights.mix.columns / 4, ranges(ahead));
    let params = HcSinkhornParams { dim, iterations, hc_eps, norm_eps, tokens: t, ahead: ranges, ..HcSinkhornParams::default() };
    let bindings = [mix, &weights.base_scale, post].into_iter().chain(ahead.iter().map(|own| &own.arena)).cloned().collect();
    let variant = asking(hc_sinkhorn_variant(&kit.dialect, dim, rows), ahead.len());
    rec.dispatch(variant, &params, bindings, [t + u32::from(!ahead.is_empty()), 1, 1]);
}
