// Sums over the LANES neighbouring invocations that share rows, a power of two of any size, for SUMS values at once, a power of two as well.
// Within a subgroup by halves, in which each half of the lanes goes on with half of the sums; teams of several subgroups add theirs in order.

const FOLD: u32 = min(LANES, SUBGROUP);

var<workgroup> team_sums: array<f32, WG / FOLD * SUMS>;

// Leaves the sums of each subgroup: team_total has them behind a barrier.
fn reduce_team(values: array<f32, SUMS>, lid: u32) {
    var sums = values;
    var first = 0u; // the number of sums[0]
#for B 7
    if ((1u << $Bu) < FOLD) {
        let is_upper = (lid & (1u << $Bu)) != 0u;
        const HALF$B = SUMS >> ($Bu + 1u);
        if (HALF$B == 0u) {
            sums[0] += subgroupShuffleXor(sums[0], 1u << $Bu);
        } else {
            first += select(0u, HALF$B, is_upper);
        }
#for S SUMS
        if ($Su < HALF$B) {
            let low$S = sums[$S];
            let high$S = sums[min($Su + HALF$B, SUMS - 1u)];
            sums[$S] = select(low$S, high$S, is_upper) + subgroupShuffleXor(select(high$S, low$S, is_upper), 1u << $Bu);
        }
#end
    }
#end
    if (lid % FOLD < SUMS) {
#for S SUMS
        if ($Su * FOLD < SUMS) {
            team_sums[lid / FOLD * SUMS + first + $Su] = sums[$S];
        }
#end
    }
}

fn team_total(team: u32, i: u32) -> f32 {
    var total = team_sums[team * (LANES / FOLD) * SUMS + i];
    for (var part = 1u; part < LANES / FOLD; part++) {
        total += team_sums[(team * (LANES / FOLD) + part) * SUMS + i];
    }
    return total;
}
