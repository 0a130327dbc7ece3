//! The experts of a layer: matrix-vector products for generated rows, with fast twins on int8, and matrix products for rows of a prompt.

pub(super) mod few;
pub(super) mod few_int8;
pub(super) mod grouped;
mod int8_variants;
mod layer;

pub use few_int8::{MoeInt8, record_moe_int8};
pub use layer::{Moe, MoeScratch};

use super::context::Strided;
use super::pass::Pass;
use super::router::Chosen;
use super::rows::Rows;
use crate::gpu::Slice;

/// Records `y[t] += sum_k weights[t, k] expert(experts[t, k])(x[t])`. x (T, D) -> y (T, D), added to.
pub fn record_moe(pass: &mut Pass<'_>, moe: &Moe<'_>, chosen: Chosen<'_>, scratch: &MoeScratch<'_>, x: &Strided, y: &Slice) {
    match pass.rows {
        Rows::Few(_) => {
            few::record_gate_up(pass, moe, &x.slice, chosen, &scratch.act.slice);
            few::record_down(pass, moe, &scratch.act.slice, chosen, y);
        }
        Rows::Many(_) => grouped::record_grouped(pass, moe, chosen, scratch, x, y),
    }
}
