// top_k: the top_k best-scored compressed rows of a token, in ascending order; of equal scores the lower row wins, NaN counts as lowest.
// in      rows (T) Row; scores (n, columns) f32 for the n rows of the tile that starts at first_token
// out     selected (T, top_k): always in range and distinct; nothing for rows that see no more than top_k
// params  Params 16 B
// grid    x: n; one workgroup a token
// needs   26 KiB workgroup memory; WG is at least 256, a multiple of 32; an invocation has FLIGHT scores in flight
// cost    at most five passes over the scores of the row: up to four for the digits of a radix selection, fewer if a bin is taken as a
//         whole; one to collect; all loads are coalesced
// source  SPEC 3.4 (step 5)
#import lib/indexer/top_k_inputs
#import lib/numbers/math

const CHUNK: u32 = 32u * WG;                      // scores collected at a time: 32 an invocation, a word of bits

// Most keys share their first digit, and atomics on one address are serialised. Therefore each bin exists COPIES times.
var<workgroup> bins: array<atomic<u32>, 256u * COPIES>;
var<workgroup> totals: array<u32, 256>;           // counts of the 256 digits, summed over the copies
var<workgroup> sixteens: array<u32, 16>;          // sums of 16 totals each
var<workgroup> chosen: vec3<u32>;                 // the digit, the number of keys with a higher one, the number of keys with it
var<workgroup> bits: array<atomic<u32>, 2 * WG>;  // bits of a chunk's keys: is better than the last one taken, then equals it
var<workgroup> counts: array<vec2<u32>, WG>;      // the number of bits in an invocation's two words
var<workgroup> groups: array<vec2<u32>, WG / 32>; // sums of 32 counts each

@compute @workgroup_size(WG)
fn top_k(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_token + wid.x;
    let seen = (rows[t].position + 1u) / params.ratio;
    if (seen <= params.top_k) {
        return;
    }
    let first = wid.x * params.columns;

    // Finds the key of the top_k-th best row, digit by digit from the highest. `wanted` is the number of rows still to be taken among those
    // that share the digits so far. If all of these are taken, the lower digits do not matter: the search stops with zeros in their place.
    var prefix = 0u;
    var wanted = params.top_k;
    var shift = rolled(32u, seen);
    while (shift > 0u) {
        shift -= 8u;
        for (var i = lid; i < 256u * COPIES; i += WG) {
            atomicStore(&bins[i], 0u);
        }
        workgroupBarrier();
        // FLIGHT loads are in flight together, here and below, because one workgroup alone is bound by memory latency.
        for (var start = lid; start < seen; start += FLIGHT * WG) {
#for J FLIGHT
            let key$J = sort_key(scores[first + min(start + $Ju * WG, seen - 1u)]);
#end
#for J FLIGHT
            if (start + $Ju * WG < seen && (shift == 24u || (key$J >> (shift + 8u)) == prefix)) {
                atomicAdd(&bins[((key$J >> shift) & 255u) * COPIES + lid % COPIES], 1u);
            }
#end
        }
        workgroupBarrier();
        if (lid < 256u) {
            var sum = 0u;
#for C COPIES
            sum += atomicLoad(&bins[lid * COPIES + (lid + $Cu) % COPIES]);
#end
            totals[lid] = sum;
        }
        workgroupBarrier();
        if (lid < 16u) {
            var sum = 0u;
#for I 16
            sum += totals[lid * 16u + $Iu];
#end
            sixteens[lid] = sum;
        }
        workgroupBarrier();
        // This is the bin in which the count from above reaches `wanted`.
        if (lid < 256u) {
            let sixteen = lid >> 4u;
            var above = 0u;
#for I 16
            above += select(0u, sixteens[$I], $Iu > sixteen);
            above += select(0u, totals[sixteen * 16u + $Iu], $Iu > (lid & 15u));
#end
            if (above < wanted && above + totals[lid] >= wanted) {
                chosen = vec3<u32>(lid, above, totals[lid]);
            }
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

    // Invocations read neighbouring scores, for coalesced loads, and mark rows to take as bits. Then each invocation writes the numbers of
    // the marked rows among 32 neighbours, so that the result is in ascending order.
    var earlier = vec2<u32>(0u); // better and equal keys of the chunks before
    for (var chunk = 0u; chunk < seen; chunk += CHUNK) {
        atomicStore(&bits[lid], 0u);
        atomicStore(&bits[WG + lid], 0u);
        workgroupBarrier();
        let end = min(seen - chunk, CHUNK);
        for (var start = lid; start < end; start += FLIGHT * WG) {
#for J FLIGHT
            let key$J = sort_key(scores[first + chunk + min(start + $Ju * WG, end - 1u)]);
#end
#for J FLIGHT
            {
                let n = start + $Ju * WG;
                if (n < end && key$J >= least) {
                    atomicOr(&bits[select(0u, WG, !is_whole && key$J == least) + (n >> 5u)], 1u << (n & 31u));
                }
            }
#end
        }
        workgroupBarrier();
        let own_better = atomicLoad(&bits[lid]);
        let own_equal = atomicLoad(&bits[WG + lid]);
        counts[lid] = vec2<u32>(countOneBits(own_better), countOneBits(own_equal));
        workgroupBarrier();
        if (lid < WG / 32u) {
            var sum = vec2<u32>(0u);
            for (var i = 0u; i < rolled(32u, seen); i += 8u) {
#for I 8
                sum += counts[lid * 32u + i + $Iu];
#end
            }
            groups[lid] = sum;
        }
        workgroupBarrier();
        var before = earlier;
        for (var i = 0u; i < rolled(WG / 32u, seen); i += 8u) {
#for I 8
            before += select(vec2<u32>(0u), groups[i + $Iu], i + $Iu < (lid >> 5u));
            earlier += groups[i + $Iu];
#end
        }
        for (var i = 0u; i < rolled(32u, seen); i += 8u) {
#for I 8
            before += select(vec2<u32>(0u), counts[(lid & ~31u) + i + $Iu], i + $Iu < (lid & 31u));
#end
        }
        var equals = min(before.y, wanted);
        var place = t * params.top_k + before.x + equals;
        var left = own_better | own_equal;
        while (left != 0u) {
            let bit = firstTrailingBit(left);
            left &= left - 1u;
            let is_better = ((own_better >> bit) & 1u) != 0u;
            if (is_better || equals < wanted) {
                equals += select(1u, 0u, is_better);
                selected[place] = chunk + lid * 32u + bit;
                place++;
            }
        }
    }
}

// `turns`, made opaque to the compiler, which then does not unroll the loop beyond eight turns. `seen` is at least 1, so the minimum is
// `turns`. A decode step alternates among kernels, so each launch starts with a cold instruction cache.
fn rolled(turns: u32, seen: u32) -> u32 {
    return min(turns, seen + turns - 1u);
}
