// attention_stats: for each row and head the largest scaled score m and 1 / sum exp(s - m), both with the sink.
// in      rows (T) Row; scores (n, HEADS, columns) f32 unscaled, as attention_scores writes them; sinks (heads) f32
// out     stats (n, HEADS) (m, 1 / sum)
// params  Params 28 B
// grid    x: ceil(heads / (WG / LANES)), y: n; LANES lanes share a head
// needs   subgroups of LANES, which all devices with cooperative matrices have
// cost    4 bytes a score, twice, from cache
// source  SPEC 3.1 (step 5)
struct Params {
    heads: u32,
    window: u32,
    ratio: u32,
    top_k: u32,
    first_token: u32,
    columns: u32,
    scale: f32,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;               // (T)
@group(0) @binding(auto) var<storage, read> scores: array<f32>;             // (n, HEADS, columns)
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;              // (heads)
@group(0) @binding(auto) var<storage, read_write> stats: array<vec2<f32>>;  // (n, HEADS)
#import lib/attention/visible

@compute @workgroup_size(WG)
fn attention_stats(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let sees = visible(rows[params.first_token + wid.y].position);
    let total = sees.window + sees.compressed;
    let lane = lid % LANES;
    let head = wid.x * (WG / LANES) + lid / LANES;
    let own = min(head, params.heads - 1u);
    let first = (wid.y * HEADS + own) * params.columns;
    var most = sinks[own];
    for (var i = lane; i < total; i += LANES) {
        most = max(most, scores[first + i] * params.scale);
    }
    for (var step = 1u; step < LANES; step <<= 1u) {
        most = max(most, subgroupShuffleXor(most, step));
    }
    var sum = 0.0;
    for (var i = lane; i < total; i += LANES) {
        sum += exp(scores[first + i] * params.scale - most);
    }
    for (var step = 1u; step < LANES; step <<= 1u) {
        sum += subgroupShuffleXor(sum, step);
    }
    if (lane == 0u && head < params.heads) {
        stats[wid.y * HEADS + head] = vec2<f32>(most, 1.0 / (sum + exp(sinks[head] - most)));
    }
}
