//! The compressed rows with the highest scores, for each row of a step.

use super::Scores;
use crate::gpu::{Slice, Variant};
use crate::kernels::context::{KernelProfile, WG};
use crate::kernels::pass::{Pass, bind};

kernels! {
    TopKParams for "top_k" | "top_k_few" in variants { ratio: u32, top_k: u32, columns: u32, first_token: u32 }
}

/// Number of scores of a row from which a workgroup of 1024 invocations is faster than one of 256.
const MANY_COLUMNS: u32 = 4096;

/// The variant for rows of `columns` scores. If there are few, and the device has subgroups, it is the kernel that keeps them in registers.
fn top_k_variant(profile: &KernelProfile, columns: u32) -> Variant {
    let most = profile.caps.invocations.min(1024);
    if let Some(subgroup) = profile.caps.subgroup.filter(|size| *size >= 8 && columns <= 4 * most) {
        let wg = if columns <= 4 * WG { WG } else { most };
        return Variant::new("top_k_few").constant("WG", wg).constant("SUBGROUP", subgroup).constant("COPIES", 4);
    }
    let large = columns >= MANY_COLUMNS && profile.caps.invocations >= 1024;
    let (wg, flight) = if large { (1024, 8) } else { (WG, 4) };
    Variant::new("top_k").constant("WG", wg).constant("FLIGHT", flight).constant("COPIES", 8)
}

/// Records the choice of the `top_k` highest scores of each of `count` rows of the step. -> selected (T, top_k), in ascending order.
pub fn record_top_k(pass: &mut Pass<'_>, (ratio, top_k): (u32, u32), scores: &Scores<'_>, count: u32, selected: &Slice) {
    let params = TopKParams { ratio, top_k, columns: scores.columns, first_token: scores.first };
    let variant = top_k_variant(pass.profile(), scores.columns);
    pass.launch(variant, &params, bind([scores.rows, scores.scores, selected]), [count, 1, 1]);
    pass.rec.by_position();
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    [512, 4096, 8192].map(|columns| top_k_variant(profile, columns)).to_vec()
}
