// Sums over the LANES neighbouring invocations of a team, a power of two from 8 on, for eight values at once; the first eight lanes of a team
// get one each, lane i value i. With subgroups by halves: after each exchange each half of the lanes goes on with half of the values, so that
// eight sums cost little more than one. Teams of several subgroups (WIDE) add theirs in order through workgroup memory.

#ifdef SUBGROUP
#ifdef WIDE
var<workgroup> team_eights: array<f32, WG / SUBGROUP * 8u>;
#endif

fn reduce_eight(values: array<f32, 8>, lid: u32) -> f32 {
    let upper = vec3<bool>((lid & 4u) != 0u, (lid & 2u) != 0u, (lid & 1u) != 0u);
    let low = vec4<f32>(values[0], values[1], values[2], values[3]);
    let high = vec4<f32>(values[4], values[5], values[6], values[7]);
    let four = select(low, high, upper.x) + subgroupShuffleXor(select(high, low, upper.x), 4u);
    let two = select(four.xy, four.zw, upper.y) + subgroupShuffleXor(select(four.zw, four.xy, upper.y), 2u);
    var sum = select(two.x, two.y, upper.z) + subgroupShuffleXor(select(two.y, two.x, upper.z), 1u);
    for (var step = 8u; step < min(LANES, SUBGROUP); step <<= 1u) {
        sum += subgroupShuffleXor(sum, step);
    }
#ifdef WIDE
    workgroupBarrier();
    if (lid % SUBGROUP < 8u) {
        team_eights[lid / SUBGROUP * 8u + lid % 8u] = sum;
    }
    workgroupBarrier();
    if (lid % LANES < 8u) {
        for (var i = 1u; i < LANES / SUBGROUP; i++) {
            sum += team_eights[(lid / SUBGROUP + i) * 8u + lid % 8u];
        }
    }
#endif
    return sum;
}
#else
var<workgroup> lane_eights: array<f32, WG * 8u>;

fn reduce_eight(values: array<f32, 8>, lid: u32) -> f32 {
    workgroupBarrier();
#for S 8
    lane_eights[$Su * WG + lid] = values[$S];
#end
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lid % LANES < half) {
#for S 8
            lane_eights[$Su * WG + lid] += lane_eights[$Su * WG + lid + half];
#end
        }
    }
    workgroupBarrier();
    return lane_eights[lid % 8u * WG + lid / LANES * LANES];
}
#endif
