//! Cases of RMS norms.

use super::bench::Bench;
use super::parts::{MOST_TOKENS, rows_at, sampled};
use crate::Result;
use crate::kernels::{Pass, Rows, Strided, record_rms_norm};
use crate::model::Config;
use crate::reference;

/// Rows that are parts of wider ones.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    norm(bench, 5, 196, 212)?;
    norm(bench, 3, 768, 800)
}

/// Low-rank queries of V4 Flash, whose rows also hold keys.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let c = Config::flash();
    for tokens in [1, bench.piece() as usize] {
        norm(bench, tokens, c.q_rank as usize, (c.q_rank + c.head_dim) as usize)?;
    }
    Ok(())
}

fn norm(bench: &mut Bench<'_>, tokens: usize, columns: usize, stride: usize) -> Result<()> {
    let case = format!("{tokens} rows of {columns}");
    let wide = bench.floats(tokens * stride);
    let weight = bench.floats(columns);
    let x = Strided { slice: bench.upload(&wide)?, stride: stride as u32, offset: 8, is_f16: false };
    let weight_gpu = bench.upload(&weight)?;
    let some = sampled(tokens, MOST_TOKENS);
    for &is_f16 in bench.element_types() {
        let out = bench.elements(tokens * columns, is_f16)?;
        let y = Strided::whole(&out.slice(), columns as u32).with_f16(is_f16);
        let record = |pass: &mut Pass<'_>| record_rms_norm(pass, &x, (&weight_gpu, 1e-6), &y, columns as u32);
        let Some(made) = bench.run(&case, &[&out], Rows::Many(tokens as u32), record)? else { continue };
        let want = reference::rms_norm(&rows_at(&wide, &some, stride, 8, columns), &weight, 1e-6);
        let got = rows_at(&made[0].elements(is_f16), &some, columns, 0, columns);
        bench.compare(&made[0], &case, &got, &want, made[0].limit());
    }
    Ok(())
}
