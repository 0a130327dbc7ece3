//! The best-scored compressed rows of each row.

use super::Scores;
use crate::gpu::{Slice, Variant};
use crate::kernels::context::{KernelProfile, WG};
use crate::kernels::pass::{Pass, bind};

kernels! {
    TopKParams for "top_k" | "top_k_few" in variants { ratio: u32, top_k: u32, columns: u32, first_token: u32 }
}

/// Columns from which a row's scores are worth a workgroup of 1024 invocations.
const MANY_COLUMNS: u32 = 4096;

/// The variant for rows of `columns` scores: where they are few, and there are subgroups, the kernel that keeps them in registers.
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

/// The `top_k` best rows of each of `count` scored rows of the step. -> selected (T, top_k), ascending.
pub fn record_top_k(pass: &mut Pass<'_>, (ratio, top_k): (u32, u32), scores: &Scores<'_>, count: u32, selected: &Slice) {
    let params = TopKParams { ratio, top_k, columns: scores.columns, first_token: scores.first };
    let variant = top_k_variant(pass.profile(), scores.columns);
    pass.launch(variant, &params, bind([scores.rows, scores.scores, selected]), [count, 1, 1]);
    pass.rec.by_position();
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    [512, 4096, 8192].map(|columns| top_k_variant(profile, columns)).to_vec()
}
