// team: sums over the LANES neighbouring invocations of a team, which may be several subgroups, for SUMS values at once.
// needs   LANES, SUMS, SUBGROUP, powers of two; WG
// declares workgroup variable team_sums
// gives   reduce_team(values, local index): stores the sums of each subgroup; team_total(team, i): adds them for sum i, after a barrier

#import lib/reduce/halve_sums

var<workgroup> team_sums: array<f32, WG / FOLD * SUMS>;

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
