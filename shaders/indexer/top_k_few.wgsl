// top_k_few: the selection of top_k for rows with few scores, of which each invocation keeps four in registers.
// in      rows (T) Row; scores (n, columns) f32 for the n rows of the tile that starts at first_token
// out     selected (T, top_k): always in range and distinct; nothing for rows that see no more than top_k
// params  Params 16 B
// grid    x: n; one workgroup a token
// needs   subgroups of SUBGROUP, at least 8; WG is at least 256; columns at most 4 WG
// cost    one pass over the scores of the row, up to four digits of a radix selection: latency bound
// source  SPEC 3.4 (step 5)
#import lib/indexer/top_k_inputs
#import lib/numbers/math

// Most keys share their first digit, and atomics on one address are serialised. Therefore each bin exists COPIES times.
var<workgroup> bins: array<atomic<u32>, 256u * COPIES>;
var<workgroup> chosen: vec3<u32>;                        // the digit, the number of keys with a higher one, the number of keys with it
var<workgroup> group_sums: array<u32, WG / SUBGROUP>;    // sums over the invocations of each subgroup

@compute @workgroup_size(WG)
fn top_k_few(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_token + wid.x;
    let seen = (rows[t].position + 1u) / params.ratio;
    if (seen <= params.top_k) {
        return;
    }
    let first = wid.x * params.columns;
    let own = lid * 4u;
#for J 4
    let key$J = sort_key(scores[first + min(own + $Ju, seen - 1u)]);
    let is_own$J = own + $Ju < seen;
#end
    if (lid < 256u) {
#for C COPIES
        atomicStore(&bins[lid * COPIES + $Cu], 0u);
#end
    }
    workgroupBarrier();

    // Finds the key of the top_k-th best row, digit by digit from the highest. `wanted` is the number of rows still to be taken among those
    // that share the digits so far. If all of these are taken, the lower digits do not matter: the search stops with zeros in their place.
    let lane = lid % SUBGROUP;
    var prefix = 0u;
    var wanted = params.top_k;
    // The value is 32 but opaque to the compiler, so the loop stays rolled.
    var shift = min(32u, seen + 31u);
    while (shift > 0u) {
        shift -= 8u;
#for J 4
        if (is_own$J && (shift == 24u || (key$J >> (shift + 8u)) == prefix)) {
            atomicAdd(&bins[((key$J >> shift) & 255u) * COPIES + lid % COPIES], 1u);
        }
#end
        workgroupBarrier();
        var count = 0u;
        if (lid < 256u) {
            // The exchange also clears the bins for the next digit.
#for C COPIES
            count += atomicExchange(&bins[lid * COPIES + (lid + $Cu) % COPIES], 0u);
#end
        }
        // The sum of this bin and of the higher ones in the subgroup.
        var from_here = count;
        for (var step = 1u; step < SUBGROUP; step <<= 1u) {
            let other = subgroupShuffleDown(from_here, step);
            from_here += select(0u, other, lane + step < SUBGROUP);
        }
        if (lane == 0u) {
            group_sums[lid / SUBGROUP] = from_here;
        }
        workgroupBarrier();
        // This is the bin in which the count from above reaches `wanted`.
        var above = from_here - count;
        for (var group = lid / SUBGROUP + 1u; group < 256u / SUBGROUP; group++) {
            above += group_sums[group];
        }
        if (lid < 256u && above < wanted && above + count >= wanted) {
            chosen = vec3<u32>(lid, above, count);
        }
        let digit = workgroupUniformLoad(&chosen);
        prefix = (prefix << 8u) | digit.x;
        wanted -= digit.y;
        if (wanted == digit.z) {
            break;
        }
    }
    let is_whole = shift > 0u;
    let least = prefix << shift;

    // Two counts in one word: better keys in the lower half, equal keys in the upper half.
    var count = 0u;
#for J 4
    let is_equal$J = is_own$J && !is_whole && key$J == least;
    let is_better$J = is_own$J && key$J >= least && !is_equal$J;
    count += u32(is_better$J) + (u32(is_equal$J) << 16u);
#end
    var to_here = count;
    for (var step = 1u; step < SUBGROUP; step <<= 1u) {
        let other = subgroupShuffleUp(to_here, step);
        to_here += select(0u, other, lane >= step);
    }
    if (lane == SUBGROUP - 1u) {
        group_sums[lid / SUBGROUP] = to_here;
    }
    workgroupBarrier();
    var before = to_here - count;
    for (var group = 0u; group < lid / SUBGROUP; group++) {
        before += group_sums[group];
    }
    var equals = before >> 16u;
    var place = t * params.top_k + (before & 0xffffu) + min(equals, wanted);
#for J 4
    if (is_better$J || (is_equal$J && equals < wanted)) {
        selected[place] = own + $Ju;
        place++;
    }
    equals += u32(is_equal$J);
#end
}
