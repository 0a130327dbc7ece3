// Sums over the LANES neighbouring invocations that share a row, a power of two of any size, for SUMS values at once; the first lane gets
// the results. Within a subgroup by halves; teams of several subgroups (WIDE) add theirs in order through workgroup memory.

#ifdef WIDE
var<workgroup> team_sums: array<f32, WG / SUBGROUP * SUMS>;
#endif

fn reduce_team(values: array<f32, SUMS>, lid: u32) -> array<f32, SUMS> {
    var sums = values;
    for (var step = 1u; step < min(LANES, SUBGROUP); step <<= 1u) {
#for S SUMS
        sums[$S] += subgroupShuffleXor(sums[$S], step);
#end
    }
#ifdef WIDE
    if (lid % SUBGROUP == 0u) {
#for S SUMS
        team_sums[lid / SUBGROUP * SUMS + $Su] = sums[$S];
#end
    }
    workgroupBarrier();
    if (lid % LANES == 0u) {
        for (var i = 1u; i < LANES / SUBGROUP; i++) {
#for S SUMS
            sums[$S] += team_sums[(lid / SUBGROUP + i) * SUMS + $Su];
#end
        }
    }
#endif
    return sums;
}
