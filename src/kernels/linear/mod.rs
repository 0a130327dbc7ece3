//! Dense matrices: matrix-vector products for generated rows, matrix products for rows of a prompt.
//!
//! A row's result must not depend on the other rows of its step. So the matrix alone decides in which order a kernel adds up a row's
//! products. Matrix-vector and matrix products have different orders.

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

/// Records `y[t, r] = W[r] . x[t]`. The rows of all `matrices` lie one after another in y. x: T rows -> y: T rows.
pub fn record_linear(pass: &mut Pass<'_>, matrices: &[&Matrix], grouping: Grouping, x: &Strided, y: &Strided) {
    match pass.rows {
        Rows::Few(_) => matvec::record_matvec(pass, matrices, grouping, x, y),
        Rows::Many(_) => matmul::record_matmul(pass, matrices, grouping, x, y),
    }
}
