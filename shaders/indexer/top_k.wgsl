// top_k: the top_k best-scored compressed rows of a token, in ascending order; of equal scores the lower row wins, NaN counts as lowest.
// in      rows (T) Row; scores (n, columns) f32 for the n rows of the tile that starts at first_token
// out     selected (T, top_k): always in range and distinct; rows that see no more than top_k are left alone
// params  Params 16 B
// grid    x: n; one workgroup a token
// needs   10 KiB workgroup memory; WG is at least 256, a multiple of 32
// cost    five passes over the scores of the row: four digits of a radix selection, one to collect
// source  SPEC 3.4
struct Params {
    ratio: u32,
    top_k: u32,
    columns: u32,
    first_token: u32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;              // (T)
@group(0) @binding(auto) var<storage, read> scores: array<f32>;            // (n, columns)
@group(0) @binding(auto) var<storage, read_write> selected: array<u32>;    // (T, top_k)
#import lib/math

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> sixteens: array<u32, 16>;          // sums of 16 bins each
var<workgroup> chosen: vec2<u32>;                 // digit, and how many keys above it were counted
var<workgroup> counts: array<vec2<u32>, WG>;      // of each invocation: keys that are better than the last one taken, and that equal it
var<workgroup> groups: array<vec2<u32>, WG / 32>; // sums of 32 counts each

@compute @workgroup_size(WG)
fn top_k(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = params.first_token + wid.x;
    let seen = (rows[t].position + 1u) / params.ratio;
    if (seen <= params.top_k) {
        return;
    }
    let first = wid.x * params.columns;

    // The key of the top_k-th best, digit by digit; `wanted` counts how many of the keys equal so far are still to be taken.
    var prefix = 0u;
    var wanted = params.top_k;
    // A bound of which compilers do not see that it is four: the loop stays one.
    for (var digit = 0u; digit < min(4u, seen + 2u); digit++) {
        let shift = 24u - digit * 8u;
        for (var i = lid; i < 256u; i += WG) {
            atomicStore(&bins[i], 0u);
        }
        workgroupBarrier();
        // Eight loads under way at a time, here and below: a workgroup alone waits for memory most of all.
        for (var some = lid; some < seen; some += 8u * WG) {
#for J 8
            let key$J = sort_key(scores[first + min(some + $Ju * WG, seen - 1u)]);
#end
#for J 8
            if (some + $Ju * WG < seen && (digit == 0u || (key$J >> (shift + 8u)) == prefix)) {
                atomicAdd(&bins[(key$J >> shift) & 255u], 1u);
            }
#end
        }
        workgroupBarrier();
        if (lid < 16u) {
            var sum = 0u;
#for I 16
            sum += atomicLoad(&bins[lid * 16u + $Iu]);
#end
            sixteens[lid] = sum;
        }
        workgroupBarrier();
        // The bin wanted is the one that passes the number: fewer keys are above it.
        if (lid < 256u) {
            let sixteen = lid >> 4u;
            var above = 0u;
#for I 16
            above += select(0u, sixteens[$I], $Iu > sixteen);
            above += select(0u, atomicLoad(&bins[sixteen * 16u + $Iu]), $Iu > (lid & 15u));
#end
            if (above < wanted && above + atomicLoad(&bins[lid]) >= wanted) {
                chosen = vec2<u32>(lid, above);
            }
        }
        workgroupBarrier();
        prefix = (prefix << 8u) | chosen.x;
        wanted -= chosen.y;
    }

    // Every invocation collects a contiguous run, so that the result is in ascending order.
    let run = (seen + WG - 1u) / WG;
    let begin = min(lid * run, seen);
    let end = min(begin + run, seen);
    var own = vec2<u32>(0u);
    for (var some = begin; some < end; some += 8u) {
#for J 8
        let key$J = sort_key(scores[first + min(some + $Ju, end - 1u)]);
#end
#for J 8
        own += select(vec2<u32>(0u), vec2<u32>(1u), vec2<bool>(key$J > prefix, key$J == prefix) & vec2<bool>(some + $Ju < end));
#end
    }
    counts[lid] = own;
    workgroupBarrier();
    if (lid < WG / 32u) {
        var sum = vec2<u32>(0u);
        for (var i = 0u; i < 32u; i++) {
            sum += counts[lid * 32u + i];
        }
        groups[lid] = sum;
    }
    workgroupBarrier();
    var before = vec2<u32>(0u);
    for (var i = 0u; i < WG / 32u; i++) {
        before += select(vec2<u32>(0u), groups[i], i < (lid >> 5u));
    }
    for (var i = 0u; i < 32u; i++) {
        before += select(vec2<u32>(0u), counts[(lid & ~31u) + i], i < (lid & 31u));
    }
    var equal_before = before.y;
    var place = before.x + min(equal_before, wanted);
    for (var some = begin; some < end; some += 8u) {
#for J 8
        let key$J = sort_key(scores[first + min(some + $Ju, end - 1u)]);
#end
#for J 8
        if (some + $Ju < end) {
            var take = key$J > prefix;
            if (key$J == prefix) {
                take = equal_before < wanted;
                equal_before++;
            }
            if (take) {
                selected[t * params.top_k + place] = some + $Ju;
                place++;
            }
        }
#end
    }
}
