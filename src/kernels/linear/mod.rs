//! Dense matrices: mat-vec products for the few rows of a decode step, matrix products for the many of a piece of a prompt.
//!
//! A row must not depend on what else is in its step: mat-vec kernels add a row's products in an order that follows from the matrix alone, and
//! so do matrix products, in another order.

pub(super) mod matmul;
pub(super) mod matvec;
pub(super) mod matvec_int8;
pub(super) mod matvec_normed;
mod parts;

pub use matmul::record_decode_runs;
pub(super) use matmul::{MatmulParams, Tile};
pub use matvec_int8::{record_linear_int8, record_linear_with_hc_mix};
pub use matvec_normed::LinearNormed;
pub use parts::Grouping;
pub(super) use parts::Part;

use super::context::Strided;
use super::matrix::Matrix;
use super::pass::Pass;
use super::rows::Rows;

/// `y[t, r] = W[r] . x[t]`, the rows of all `matrices` one after another in y. x: T rows -> y: T rows.
pub fn record_linear(pass: &mut Pass<'_>, matrices: &[&Matrix], grouping: Grouping, x: &Strided, y: &Strided) {
    match pass.rows {
        Rows::Few(_) => matvec::record_matvec(pass, matrices, grouping, x, y),
        Rows::Many(_) => matmul::record_matmul(pass, matrices, grouping, x, y),
    }
}
