//! Cases of `matvec_normed`, which normalises rows and rounds them to int8 before it multiplies them.

use super::int8::COMPANIES;
use crate::Result;
use crate::kernels::{LinearNormed, Matrix, Rows, Strided};
use crate::model::Config;
use crate::quant::BlockFormat;
use crate::reference;
use crate::verify::bench::Bench;
use crate::verify::outcome::NOTHING;
use crate::verify::parts::{side_by_side, view};

/// Rows that teams can take one at a time, two and four; F16 takes even numbers.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    let (q8_0, f16) = (BlockFormat::Q8_0x8, BlockFormat::F16);
    if bench.kernels.profile.int8() {
        normed(bench, 256, [q8_0, q8_0, q8_0], [40, 33, 12], &COMPANIES)?;
        normed(bench, 768, [q8_0, q8_0, f16], [40, 36, 10], &COMPANIES)?;
        normed(bench, 1024, [q8_0, q8_0, f16], [40, 36, 12], &COMPANIES)?;
        normed(bench, 1024, [f16, f16, f16], [40, 36, 12], &COMPANIES)?;
    }
    Ok(())
}

/// The queries of V4 Flash with those of its indexer, in two formats.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    let (c, q8_0, f16) = (Config::flash(), BlockFormat::Q8_0x8, BlockFormat::F16);
    let [queries, index] = [c.heads * c.head_dim, c.index_heads * c.index_dim].map(|rows| rows as usize);
    if bench.kernels.profile.int8() {
        normed(bench, c.q_rank as usize, [q8_0, q8_0, f16], [queries / 2, queries / 2, index], &[1, 8])?;
    }
    Ok(())
}

/// Rows that the kernel normalises. The bits of a token must be the same beside any number of others.
fn normed(bench: &mut Bench<'_>, columns: usize, formats: [BlockFormat; 3], rows: [usize; 3], companies: &[usize]) -> Result<()> {
    let built = bench.several(&[0, 1, 2].map(|n| (formats[n], rows[n])), columns)?;
    let matrices: Vec<&Matrix> = built.iter().map(|(_, matrix)| matrix).collect();
    let (total, stride) = (rows.iter().sum::<usize>(), columns + 24);
    // Whole numbers up to 127 in each block: no value lies between two codes, whatever a norm's last bit.
    let mut x: Vec<f32> = bench.floats(16 * stride).iter().map(|v| (v * 50.0).round().clamp(-126.0, 126.0)).collect();
    for row in x.chunks_exact_mut(stride) {
        row[16..16 + columns].iter_mut().step_by(32).for_each(|v| *v = 127.0);
    }
    let weight: Vec<f32> = bench.floats(columns / 32).iter().flat_map(|&v| [v; 32]).collect();
    let (x_gpu, norm) = (bench.upload(&x)?, bench.upload(&weight)?);
    let own: Vec<f32> = x.chunks_exact(stride).flat_map(|row| &row[16..16 + columns]).copied().collect();
    let mut want = None;
    let x = Strided { slice: x_gpu, stride: stride as u32, offset: 16, is_f16: false };
    let mut alone: Vec<u32> = Vec::new();
    for &tokens in companies {
        let case = format!("{:?} {rows:?}x{columns}, {tokens} tokens", formats[2]);
        let out = bench.output(tokens * total)?;
        let y = Strided::whole(&out.slice(), total as u32);
        let Some(linear) = LinearNormed::new(&bench.kernels, &matrices, Rows::Few(tokens as u32)) else {
            bench.fail(NOTHING, &case, "matvec_normed has no variant for it".into());
            continue;
        };
        let Some(made) = bench.run(&case, &[&out], Rows::Few(tokens as u32), |pass| linear.record(pass, &x, (&norm, 1e-6), &y))? else {
            continue;
        };
        let want = want.get_or_insert_with(|| {
            let rounded = reference::rounded(&reference::rms_norm(&own, &weight, 1e-6));
            side_by_side(&built, 16, |bytes, matrix| reference::linear(&view(matrix, bytes), &rounded))
        });
        bench.compare(&made[0], &case, &made[0].floats(), &want[..tokens * total], made[0].limit());
        bench.compare_with_alone(&made[0], &case, tokens, &mut alone);
    }
    Ok(())
}
