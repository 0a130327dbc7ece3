// four: sums over the LANES neighbouring invocations of a team, for four values at once.
// needs   LANES, a power of two from 8 on; WG; SUBGROUP where there are subgroups; WIDE if a team is several of them
// declares workgroup variable team_fours with WIDE, lane_fours without subgroups
// gives   reduce_four(four values, local index): sum i in lane i of the team, for its first four lanes; by a whole workgroup
//
// With subgroups it adds by halves: after each exchange each half of the lanes continues with half of the values, so that four sums cost
// little more than one. The subgroups of a wide team are added in their order, through workgroup memory.

#ifdef SUBGROUP
#ifdef WIDE
var<workgroup> team_fours: array<f32, WG / SUBGROUP * 4u>;
#endif

fn reduce_four(values: vec4<f32>, lid: u32) -> f32 {
    let upper = vec2<bool>((lid & 2u) != 0u, (lid & 1u) != 0u);
    let two = select(values.xy, values.zw, upper.x) + subgroupShuffleXor(select(values.zw, values.xy, upper.x), 2u);
    var sum = select(two.x, two.y, upper.y) + subgroupShuffleXor(select(two.y, two.x, upper.y), 1u);
    for (var step = 4u; step < min(LANES, SUBGROUP); step <<= 1u) {
        sum += subgroupShuffleXor(sum, step);
    }
#ifdef WIDE
    workgroupBarrier();
    if (lid % SUBGROUP < 4u) {
        team_fours[lid / SUBGROUP * 4u + lid % 4u] = sum;
    }
    workgroupBarrier();
    if (lid % LANES < 4u) {
        for (var i = 1u; i < LANES / SUBGROUP; i++) {
            sum += team_fours[(lid / SUBGROUP + i) * 4u + lid % 4u];
        }
    }
#endif
    return sum;
}
#else
var<workgroup> lane_fours: array<vec4<f32>, WG>;

fn reduce_four(values: vec4<f32>, lid: u32) -> f32 {
    workgroupBarrier();
    lane_fours[lid] = values;
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lid % LANES < half) {
            lane_fours[lid] += lane_fours[lid + half];
        }
    }
    workgroupBarrier();
    return lane_fours[lid / LANES * LANES][lid % 4u];
}
#endif
