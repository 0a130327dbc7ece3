// top_k: the top_k best-scored compressed rows of a token, in ascending order; of equal scores the lower row wins, NaN counts as lowest.
// in      rows (T) Row; scores (n, columns) f32 for the n rows of the tile that starts at first_token
// out     selected (T, top_k): always in range and distinct; rows that see no more than top_k are left alone
// params  Params 16 B
// grid    x: n; one workgroup a token
// needs   3 KiB workgroup memory; WG is 256
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
var<workgroup> chosen: vec2<u32>; // digit, and how many keys above it were counted
var<workgroup> scan_better: array<u32, WG>;
var<workgroup> scan_equal: array<u32, WG>;

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
    for (var digit = 0u; digit < 4u; digit++) {
        let shift = 24u - digit * 8u;
        for (var i = lid; i < 256u; i += WG) {
            atomicStore(&bins[i], 0u);
        }
        workgroupBarrier();
        for (var i = lid; i < seen; i += WG) {
            let key = sort_key(scores[first + i]);
            if (digit == 0u || (key >> (shift + 8u)) == prefix) {
                atomicAdd(&bins[(key >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        // How many keys are in each bin or above: the bin wanted is the last one with enough.
        for (var i = lid; i < 256u; i += WG) {
            scan_better[i] = atomicLoad(&bins[i]);
        }
        workgroupBarrier();
        for (var step = 1u; step < 256u; step <<= 1u) {
            var add = 0u;
            if (lid + step < 256u) {
                add = scan_better[lid + step];
            }
            workgroupBarrier();
            scan_better[lid] += add;
            workgroupBarrier();
        }
        var above = 0u;
        if (lid < 255u) {
            above = scan_better[lid + 1u];
        }
        if (above < wanted && scan_better[lid] >= wanted) {
            chosen = vec2<u32>(lid, above);
        }
        workgroupBarrier();
        prefix = (prefix << 8u) | chosen.x;
        wanted -= chosen.y;
        workgroupBarrier();
    }

    // Every invocation collects a contiguous run, so that the result is in ascending order.
    let run = (seen + WG - 1u) / WG;
    let begin = min(lid * run, seen);
    let end = min(begin + run, seen);
    var better = 0u;
    var equal = 0u;
    for (var i = begin; i < end; i++) {
        let key = sort_key(scores[first + i]);
        better += select(0u, 1u, key > prefix);
        equal += select(0u, 1u, key == prefix);
    }
    scan_better[lid] = better;
    scan_equal[lid] = equal;
    workgroupBarrier();
    for (var step = 1u; step < WG; step <<= 1u) {
        var add = vec2<u32>(0u);
        if (lid >= step) {
            add = vec2<u32>(scan_better[lid - step], scan_equal[lid - step]);
        }
        workgroupBarrier();
        scan_better[lid] += add.x;
        scan_equal[lid] += add.y;
        workgroupBarrier();
    }
    var equal_before = scan_equal[lid] - equal;
    var place = scan_better[lid] - better + min(equal_before, wanted);
    for (var i = begin; i < end; i++) {
        let key = sort_key(scores[first + i]);
        var take = key > prefix;
        if (key == prefix) {
            take = equal_before < wanted;
            equal_before++;
        }
        if (take) {
            selected[t * params.top_k + place] = i;
            place++;
        }
    }
}
