//! Cases of the kernel that reads memory and does nothing else.

use super::bench::Bench;
use super::outcome::POISON;
use crate::Result;
use crate::kernels::{Pass, Rows, record_stream_read};

/// A few turns of three workgroups.
pub fn tiny(bench: &mut Bench<'_>) -> Result<()> {
    stream(bench, 3, 1900)
}

/// A buffer larger than the caches.
pub fn flash(bench: &mut Bench<'_>) -> Result<()> {
    stream(bench, 2112, if bench.gpu.is_software() { 1 << 18 } else { 6 << 20 })
}

/// An invocation writes its number only if everything that it reads adds up to a certain word. In these inputs that happens in one
/// invocation of each of three workgroups, each time in another turn and another component.
fn stream(bench: &mut Bench<'_>, workgroups: usize, vectors: usize) -> Result<()> {
    const WRITES: u32 = 0x9e37_79b9;
    let case = format!("{vectors} vectors by {workgroups} workgroups");
    let mut source = vec![0u32; 4 * vectors];
    let mut want = vec![POISON; workgroups];
    // The last vector but a hundred, one in the middle and one in the first third.
    for (component, vector) in [(3, vectors - 100), (1, vectors / 3 + 7), (2, vectors / 2 + 1)] {
        source[4 * vector + component] = WRITES;
        want[vector / 256 % workgroups] = vector as u32 % 256;
    }
    let source = bench.upload(&source)?;
    let sums = bench.output(want.len())?;
    let record = |pass: &mut Pass<'_>| record_stream_read(pass, &source, &sums.slice(), workgroups as u32);
    let Some(made) = bench.run(&case, &[&sums], Rows::Many(1), record)? else { return Ok(()) };
    bench.compare_ids(&made[0], &case, &made[0].words, &want);
    Ok(())
}
