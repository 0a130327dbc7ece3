//! The routed experts of rows of a prompt: pairs of row and expert are sorted by expert, and each expert's rows go through matrix products.

use super::layer::{Moe, MoeScratch};
use crate::gpu::{Binding, Slice, Variant};
use crate::kernels::context::{KernelProfile, Strided, WG};
use crate::kernels::cost;
use crate::kernels::formats::row_entry;
use crate::kernels::linear::{MatmulParams, Tile};
use crate::kernels::matrix::{Experts, ExpertsSlice};
use crate::kernels::pass::{Pass, bind};
use crate::kernels::router::Chosen;

kernels! {
    MoeGroupParams for "moe_group" in group_variants { pairs: u32, experts: u32 }
    MoeCombineParams for "moe_combine" in combine_variants { dim: u32, used: u32 }
}

/// See [`record_moe`](super::record_moe).
pub fn record_grouped(pass: &mut Pass<'_>, moe: &Moe<'_>, chosen: Chosen<'_>, scratch: &MoeScratch<'_>, x: &Strided, y: &Slice) {
    let (t, experts) = (pass.t(), moe.gate_up.experts);
    let pairs = t * moe.used;
    let tile = Tile::for_experts(pass.profile(), pairs / experts);
    let params = MoeGroupParams { pairs, experts };
    let bindings = bind([chosen.experts, scratch.pairs, scratch.tiles]);
    pass.launch(group_variant(pass.profile(), tile.tokens), &params, bindings, [experts, 1, 1]);

    let launch = Launch { tile: &tile, pairs, scratch };
    for slice in &moe.gate_up.slices {
        let stack = moe.gate_up;
        let variant = tile.variant(&stack.formats, stack.columns, x.is_f16, scratch.act.is_f16).flag("EXPERTS").flag("GATE_UP");
        let params = MatmulParams {
            base_up: slice.bases[1],
            format_up: stack.formats[1] as u32,
            limit: moe.limit,
            ..expert_params(stack, slice, moe.used)
        };
        launch.record(pass, stack, slice, (variant, params, tile.rows / 2), [&x.slice, &scratch.act.slice]);
    }
    for slice in &moe.down.slices {
        let stack = moe.down;
        let variant = tile.variant(&stack.formats, stack.columns, scratch.act.is_f16, false).flag("EXPERTS");
        let params = expert_params(stack, slice, moe.used);
        launch.record(pass, stack, slice, (variant, params, tile.rows), [&scratch.act.slice, scratch.out]);
    }
    let dim = moe.down.rows;
    let params = MoeCombineParams { dim, used: moe.used };
    let grid = [(dim / 4).div_ceil(WG), t, 1];
    pass.launch(pass.kernels.variant("moe_combine"), &params, bind([scratch.out, chosen.weights, y]), grid);
}

/// Parameters of the matrix products of one slice of experts.
fn expert_params(stack: &Experts, slice: &ExpertsSlice, used: u32) -> MatmulParams {
    let mut ends_bases = [[0; 4]; 4];
    ends_bases[0][..2].copy_from_slice(&[row_entry(slice.rows, stack.formats[0]), slice.bases[0]]);
    MatmulParams {
        ends_bases,
        columns: stack.columns,
        x_stride: stack.columns,
        y_stride: stack.rows,
        y_offset: slice.first_row,
        first_expert: slice.first_expert,
        experts: slice.experts,
        used,
        ..Default::default()
    }
}

/// What the launches of all products have in common.
struct Launch<'a> {
    tile: &'a Tile,
    /// Number of pairs of row and expert: T * used.
    pairs: u32,
    scratch: &'a MoeScratch<'a>,
}

impl Launch<'_> {
    /// Records the product of one slice. `rows` is the number of rows of the experts' matrix that a workgroup takes.
    fn record(
        &self,
        pass: &mut Pass<'_>,
        stack: &Experts,
        slice: &ExpertsSlice,
        (variant, params, rows): (Variant, MatmulParams, u32),
        [x, y]: [&Slice; 2],
    ) {
        // Only the GPU knows how many tiles there are. The grid has the largest possible number, and workgroups without a tile return at
        // once.
        let most_tiles = self.pairs.div_ceil(self.tile.tokens) + stack.experts.min(self.pairs);
        let mut bindings = bind([self.scratch.tiles, self.scratch.pairs]);
        bindings.extend([self.tile.weights(&slice.arena), Binding::from(x), Binding::from(y)]);
        bindings.extend(pass.kernels.tables(&stack.formats));
        pass.launch(variant, &params, bindings, [slice.rows.div_ceil(rows), most_tiles, 1]);
        pass.rec.cost(cost::experts_many(stack, slice, self.pairs));
    }
}

fn group_variant(profile: &KernelProfile, tile: u32) -> Variant {
    profile.variant("moe_group").constant("TILE", tile)
}

fn group_variants(profile: &KernelProfile) -> Vec<Variant> {
    [16, 64, 128].map(|tokens| group_variant(profile, Tile::choose(profile, tokens).tokens)).to_vec()
}

fn combine_variants(profile: &KernelProfile) -> Vec<Variant> {
    vec![profile.variant("moe_combine")]
}
