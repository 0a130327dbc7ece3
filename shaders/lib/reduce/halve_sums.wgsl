// halve_sums: sums over neighbouring lanes of a subgroup, LANES of them or the whole subgroup, for SUMS values at once.
// needs   LANES, SUBGROUP and SUMS, powers of two
// declares FOLD, the number of lanes; Halved
// gives   halve_sums(values, local index)
//
// It adds by halves: after each exchange each half of the lanes continues with half of the sums. That takes few exchanges, and every sum is
// added in the same order.

const FOLD: u32 = min(LANES, SUBGROUP);

struct Halved {
    sums: array<f32, SUMS>, // the lane's finished sums come first: SUMS / FOLD of them, or one if that is less
    first: u32,             // the number of the sum in sums[0]; lanes from SUMS on repeat the sums of lower lanes
}

fn halve_sums(values: array<f32, SUMS>, lid: u32) -> Halved {
    var sums = values;
    var first = 0u;
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
    return Halved(sums, first);
}
