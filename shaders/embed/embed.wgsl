// embed: X[t, j] = table[token t] for the four hyper-connection streams j.
// in      rows (T) Row; sampled (slots) ids; w (ids of this slice, D) any block format
// out     x (T, 4, D) f32
// params  Params 20 B
// grid    x: ceil(D / 8 / WG), y: T; one invocation decodes 8 channels
// needs   nothing
// cost    T * row bytes read, T * 16 D bytes written: bandwidth bound
// source  SPEC 3
struct Params {
    base: u32,      // byte offset of the slice's first row in w
    first_id: u32,  // the slice's first token id
    ids: u32,       // token ids in the slice
    dim: u32,
    format: u32,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;         // (T)
@group(0) @binding(auto) var<storage, read> sampled: array<u32>;      // (slots)
@group(0) @binding(auto) var<storage, read> w: array<u32>;            // arena
@group(0) @binding(auto) var<storage, read_write> x: array<vec4<f32>>; // (T, 4, D/4)
#import lib/formats/dequant

@compute @workgroup_size(WG)
fn embed(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let column = (wid.x * WG + lid) * 8u;
    let t = wid.y;
    var token = rows[t].token;
    if (token == SAMPLED) {
        token = sampled[rows[t].slot];
    }
    if (column >= params.dim || token < params.first_id || token - params.first_id >= params.ids) {
        return;
    }
    let row = params.base + (token - params.first_id) * row_bytes(params.format, params.dim);
    let weights = dequant8(params.format, row, column);
    for (var stream = 0u; stream < 4u; stream++) {
        let i = ((t * 4u + stream) * params.dim + column) >> 2u;
        x[i] = weights.a;
        x[i + 1u] = weights.b;
    }
}
