// lanes: sums over the LANES neighbouring invocations that share a row, for SUMS values at once.
// needs   LANES, a power of two; SUMS; WG; SUBGROUP, at least LANES, where there are subgroups
// declares workgroup variable lane_sums, only without subgroups
// gives   reduce_lanes(values, local index): the sums, in the first of the lanes; by a whole workgroup

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
