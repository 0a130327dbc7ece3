// Sums over the LANES neighbouring invocations that share rows, for SUMS values at once; both are powers of two. Teams of several subgroups
// add theirs in order.
#import lib/reduce/halve_sums

var<workgroup> team_sums: array<f32, WG / FOLD * SUMS>;

// Leaves the sums of each subgroup: team_total has them behind a barrier.
fn reduce_team(values: array<f32, SUMS>, lid: u32) {
    let own = halve_sums(values, lid);
    if (lid % FOLD < SUMS) {
#for S SUMS
        if ($Su * FOLD < SUMS) {
            team_sums[lid / FOLD * SUMS + own.first + $Su] = own.sums[$S];
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
