// moe_group: sorts the (token, k) pairs of a chunk by expert and cuts them into tiles of TILE pairs, for the experts' matmul.
// in      chosen (n) expert numbers
// out     pairs (n): pair numbers by expert, ascending within an expert; tiles: the number of tiles, then (expert, first pair, pairs, 0) of
//         each
// params  Params 8 B
// grid    x: experts; every workgroup counts the pairs of all experts and then collects those of its own
// needs   experts at most 1024
// cost    experts * n reads from cache
// source  SPEC 3.5
struct Params {
    pairs: u32,
    experts: u32,
}

@group(0) @binding(auto) var<storage, read> chosen: array<u32>;          // (n)
@group(0) @binding(auto) var<storage, read_write> pairs: array<u32>;     // (n)
@group(0) @binding(auto) var<storage, read_write> tiles: array<vec4<u32>>;

var<workgroup> counts: array<atomic<u32>, 1024>;
var<workgroup> starts: vec2<u32>; // first pair and first tile of this expert
var<workgroup> scan: array<u32, WG>;

@compute @workgroup_size(WG)
fn moe_group(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let expert = wid.x;
    for (var e = lid; e < params.experts; e += WG) {
        atomicStore(&counts[e], 0u);
    }
    workgroupBarrier();
    for (var i = lid; i < params.pairs; i += WG) {
        atomicAdd(&counts[chosen[i]], 1u);
    }
    workgroupBarrier();
    if (lid == 0u) {
        var first_pair = 0u;
        var first_tile = 0u;
        for (var e = 0u; e < params.experts; e++) {
            if (e == expert) {
                starts = vec2<u32>(first_pair, first_tile);
            }
            first_pair += atomicLoad(&counts[e]);
            first_tile += (atomicLoad(&counts[e]) + TILE - 1u) / TILE;
        }
        if (expert == 0u) {
            tiles[0] = vec4<u32>(first_tile, 0u, 0u, 0u);
        }
    }
    workgroupBarrier();
    let count = atomicLoad(&counts[expert]);
    for (var i = lid; i * TILE < count; i += WG) {
        tiles[1u + starts.y + i] = vec4<u32>(expert, starts.x + i * TILE, min(TILE, count - i * TILE), 0u);
    }
    // Stable compaction, WG pairs at a time.
    var placed = starts.x;
    for (var first = 0u; first < params.pairs; first += WG) {
        let i = first + lid;
        var mine = 0u;
        if (i < params.pairs) {
            mine = select(0u, 1u, chosen[i] == expert);
        }
        scan[lid] = mine;
        workgroupBarrier();
        for (var step = 1u; step < WG; step <<= 1u) {
            var add = 0u;
            if (lid >= step) {
                add = scan[lid - step];
            }
            workgroupBarrier();
            scan[lid] += add;
            workgroupBarrier();
        }
        if (mine == 1u) {
            pairs[placed + scan[lid] - 1u] = i;
        }
        placed += scan[WG - 1u];
        workgroupBarrier();
    }
}
