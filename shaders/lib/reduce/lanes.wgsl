// Sums over the LANES neighbouring invocations that share a row, for SUMS values at once; the first lane gets the results.
// With subgroups a row is one subgroup or a part of it; without, a tree in workgroup memory.

#ifdef SUBGROUP
fn reduce_lanes(values: array<f32, SUMS>, lid: u32) -> array<f32, SUMS> {
    var sums = values;
    for (var step = 1u; step < LANES; step <<= 1u) {
#for S SUMS
        sums[$S] += subgroupShuffleXor(sums[$S], step);
#end
    }
    return sums;
}
#else
var<workgroup> lane_sums: array<f32, WG * SUMS>;

fn reduce_lanes(values: array<f32, SUMS>, lid: u32) -> array<f32, SUMS> {
    var sums = values;
    workgroupBarrier();
#for S SUMS
    lane_sums[$S * WG + lid] = sums[$S];
#end
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lid % LANES < half) {
#for S SUMS
            lane_sums[$S * WG + lid] += lane_sums[$S * WG + lid + half];
#end
        }
    }
#for S SUMS
    sums[$S] = lane_sums[$S * WG + lid];
#end
    return sums;
}
#endif
