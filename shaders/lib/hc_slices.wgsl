// The slices of SLICE channels of a row whose dot products hc_mix leaves one by one.

fn hc_slices() -> u32 {
    return (params.dim + SLICE - 1u) / SLICE;
}
