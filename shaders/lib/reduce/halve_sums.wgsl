// Sums over the neighbouring lanes of a subgroup that share rows, LANES or all of them, for SUMS values at once; both are powers of two.
// By halves, in which each half of the lanes goes on with half of the sums: few exchanges, and every sum adds up in the same order.

const FOLD: u32 = min(LANES, SUBGROUP);

struct Halved {
    sums: array<f32, SUMS>, // whole: as many as there are for each lane, at least one
    first: u32,             // the number of sums[0]; lanes from SUMS on repeat those before
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
