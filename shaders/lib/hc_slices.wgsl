// The slices of a row's channels whose dot products hc_mix leaves one by one.

const SLICE: u32 = 64u;

fn hc_slices() -> u32 {
    return (params.dim + SLICE - 1u) / SLICE;
}
