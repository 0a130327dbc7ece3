//! The routed experts, for few rows (mat-vec) and for many (grouped matmul).

use super::cost;
use super::kit::{Dialect, Kit, Strided, WG, with_formats};
use super::linear::{MatmulParams, Tile};
use super::matrix::Experts;
use super::rows::Rows;
use crate::gpu::{Recording, Slice, Variant};
use crate::quant::BlockFormat;

params! {
    MoeGateUpParams for "moe_gate_up" {
        columns: u32, rows: u32, width: u32, first_row: u32, base_gate: u32, base_up: u32, format_gate: u32, format_up: u32,
        first_expert: u32, experts: u32, used: u32, limit: f32,
    }
    MoeDownParams for "moe_down" {
        columns: u32, rows: u32, width: u32, first_row: u32, base: u32, format: u32, first_expert: u32, experts: u32, used: u32,
    }
    MoeGroupParams for "moe_group" { pairs: u32, experts: u32 }
    MoeCombineParams for "moe_combine" { dim: u32, used: u32 }
}

/// The routed experts of a layer.
#[derive(Clone, Debug)]
pub struct Moe<'a> {
    /// Gate and up.
    pub gate_up: &'a Experts,
    /// Down.
    pub down: &'a Experts,
    /// Experts a token.
    pub used: u32,
    /// SwiGLU limit.
    pub limit: f32,
}

/// Buffers that the routed experts work in.
#[derive(Clone, Debug)]
pub struct MoeScratch<'a> {
    /// Activations (T * used, F).
    pub act: Strided,
    /// Results (T * used, D) f32, for many rows only.
    pub out: &'a Slice,
    /// Pairs by expert (T * used).
    pub pairs: &'a Slice,
    /// Tiles: 1 + T * used / tile + E entries of 16 bytes.
    pub tiles: &'a Slice,
}

impl MoeScratch<'_> {
    /// Entries of `tiles` that `t` rows may need, whatever the tile.
    pub const fn most_tiles(t: u32, used: u32, experts: u32) -> u32 {
        1 + (t * used).div_ceil(8) + experts
    }
}

/// `y[t] += sum_k weights[t, k] expert(chosen[t, k])(x[t])`. x (T, D), chosen and weights (T, used) -> y (T, D), added to.
pub fn record_moe(
    rec: &mut Recording,
    kit: &Kit,
    moe: &Moe<'_>,
    scratch: &MoeScratch<'_>,
    x: &Strided,
    chosen: &Slice,
    weights: &Slice,
    y: &Slice,
    rows: Rows,
) {
    match rows {
        Rows::Few(t) => {
            record_gate_up(rec, kit, moe, &x.slice, chosen, &scratch.act.slice, t);
            record_down(rec, kit, moe, &scratch.act.slice, chosen, weights, y, t);
        }
        Rows::Many(t) => record_grouped(rec, kit, moe, scratch, x, chosen, weights, y, t),
    }
}

pub(super) fn record_gate_up(rec: &mut Recording, kit: &Kit, moe: &Moe<'_>, x: &Slice, chosen: &Slice, act: &Slice, t: u32) {
    let stack = moe.gate_up;
    let (gate, up) = (stack.formats[0], stack.formats[1]);
    let (variant, rows_each) = gate_up_variant(&kit.dialect, &stack.formats);
    for slice in &stack.slices {
        let params = MoeGateUpParams {
            columns: stack.columns,
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base_gate: slice.bases[0],
            base_up: slice.bases[1],
            format_gate: gate as u32,
            format_up: up as u32,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
            limit: moe.limit,
        };
        let mut bindings = vec![slice.arena.clone(), x.clone(), chosen.clone(), act.clone()];
        bindings.extend(kit.tables(&stack.formats));
        rec.dispatch(variant.clone(), &params, bindings, [slice.rows.div_ceil(rows_each), t * moe.used, 1]);
        rec.cost(cost::experts_few(stack, slice, t * moe.used));
    }
}

pub(super) fn gate_up_variant(dialect: &Dialect, formats: &[BlockFormat]) -> (Variant, u32) {
    let (variant, rows) = dialect.lanes_variant("moe_gate_up", 2);
    (with_formats(variant, formats), rows)
}

pub(super) fn down_variant(dialect: &Dialect, formats: &[BlockFormat]) -> (Variant, u32) {
    let (variant, rows) = dialect.lanes_variant("moe_down", 1);
    (with_formats(variant, formats), rows)
}

pub(super) fn record_down(rec: &mut Recording, kit: &Kit, moe: &Moe<'_>, act: &Slice, chosen: &Slice, weights: &Slice, y: &Slice, t: u32) {
    let stack = moe.down;
    let (variant, rows_each) = down_variant(&kit.dialect, &stack.formats);
    for slice in &stack.slices {
        let params = MoeDownParams {
            columns: stack.columns,
            rows: slice.rows,
            width: stack.rows,
            first_row: slice.first_row,
            base: slice.bases[0],
            format: stack.formats[0] as u32,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
        };
        let mut bindings = vec![slice.arena.clone(), act.clone(), chosen.clone(), weights.clone(), y.clone()];
        bindings.extend(kit.tables(&stack.formats));
        rec.dispatch(variant.clone(), &params, bindings, [slice.rows.div_ceil(rows_each), t, 1]);
        rec.cost(cost::experts_few(stack, slice, t * moe.used));
    }
}

fn record_grouped(
    rec: &mut Recording,
    kit: &Kit,
    moe: &Moe<'_>,
    scratch: &MoeScratch<'_>,
    x: &Strided,
    chosen: &Slice,
    weights: &Slice,
    y: &Slice,
    t: u32,
) {
    let pairs = t * moe.used;
    let experts = moe.gate_up.experts;
    let tile = Tile::for_experts(&kit.dialect, pairs / experts);
    let params = MoeGroupParams { pairs, experts };
    let bindings = vec![chosen.clone(), scratch.pairs.clone(), scratch.tiles.clone()];
    rec.dispatch(group_variant(&kit.dialect, tile.tokens), &params, bindings, [experts, 1, 1]);

    // How many tiles there are only the GPU knows: launch for the most there can be, the rest leave at once.
    let most_tiles = pairs.div_ceil(tile.tokens) + experts.min(pairs);
    for slice in &moe.gate_up.slices {
        let stack = moe.gate_up;
        let mut ends_bases = [[0; 4]; 4];
        ends_bases[0][..2].copy_from_slice(&[slice.rows | (stack.formats[0] as u32) << 28, slice.bases[0]]);
        let params = MatmulParams {
            ends_bases,
            columns: stack.columns,
            x_stride: stack.columns,
            y_stride: stack.rows,
            y_offset: slice.first_row,
            base_up: slice.bases[1],
            format_up: stack.formats[1] as u32,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
            limit: moe.limit,
            ..Default::default()
        };
        let variant = tile.variant(&stack.formats, stack.columns, x.half, scratch.act.half).flag("EXPERTS").flag("GATE_UP");
        let mut bindings = vec![scratch.tiles.clone(), scratch.pairs.clone()];
        bindings.extend(tile.weights(&slice.arena));
        bindings.extend([x.slice.clone(), scratch.act.slice.clone()]);
        bindings.extend(kit.tables(&stack.formats));
        rec.dispatch(variant, &params, bindings, [slice.rows.div_ceil(tile.rows / 2), most_tiles, 1]);
        rec.cost(cost::experts_many(stack, slice, pairs));
    }
    for slice in &moe.down.slices {
        let stack = moe.down;
        let mut ends_bases = [[0; 4]; 4];
        ends_bases[0][..2].copy_from_slice(&[slice.rows | (stack.formats[0] as u32) << 28, slice.bases[0]]);
        let params = MatmulParams {
            ends_bases,
            columns: stack.columns,
            x_stride: stack.columns,
            y_stride: stack.rows,
            y_offset: slice.first_row,
            first_expert: slice.first_expert,
            experts: slice.experts,
            used: moe.used,
            ..Default::default()
        };
        let variant = tile.variant(&stack.formats, stack.columns, scratch.act.half, false).flag("EXPERTS");
        let mut bindings = vec![scratch.tiles.clone(), scratch.pairs.clone()];
        bindings.extend(tile.weights(&slice.arena));
        bindings.extend([scratch.act.slice.clone(), scratch.out.clone()]);
        bindings.extend(kit.tables(&stack.formats));
        rec.dispatch(variant, &params, bindings, [slice.rows.div_ceil(tile.rows), most_tiles, 1]);
        rec.cost(cost::experts_many(stack, slice, pairs));
    }
    let dim = moe.down.rows;
    let bindings = vec![scratch.out.clone(), weights.clone(), y.clone()];
    let params = MoeCombineParams { dim, used: moe.used };
    rec.dispatch(kit.variant("moe_combine"), &params, bindings, [(dim / 4).div_ceil(WG), t, 1]);
}

pub(super) fn group_variant(dialect: &Dialect, tile: u32) -> Variant {
    dialect.variant("moe_group").constant("TILE", tile)
}
