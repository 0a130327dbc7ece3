// query: parameters and bindings of the kernels that compute the indexer's scores, and its queries after RoPE.
// needs   DIM
// declares Params; bindings rows, q, angles, hw, scores; QUERY_QUADS
// gives   index_query(row t, head, quad): four channels, rotated by the angles of compressed layers; fetch_query(row t, first head, i):
//         quad i counted from that head on; past the last head it repeats the last head's

struct Params {
    heads: u32,
    ratio: u32,
    max_pages: u32,
    columns: u32,     // columns of scores
    q_stride: u32,    // floats
    q_offset: u32,    // floats
    hw_stride: u32,   // floats
    hw_offset: u32,   // floats
    hw_scale: f32,    // DIM^-1/2 heads^-1/2
    first_token: u32,
    rope: u32,        // R
    first_row: u32,
    count: u32,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;           // (T)
@group(0) @binding(auto) var<storage, read> q: array<vec4<f32>>;        // (T, q_stride/4)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;   // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read> hw: array<f32>;             // (T, hw_stride)
@group(0) @binding(auto) var<storage, read_write> scores: array<f32>;   // (n, columns)
#import lib/attention/rotate

const QUERY_QUADS: u32 = DIM / 4u;

// Pair `n` of a head of row `t`, rotated if it is one of the last R / 2.
fn rotated_pair(pair: vec2<f32>, t: u32, n: u32) -> vec2<f32> {
    let rotated = params.rope >> 1u;
    let plain = DIM / 2u - rotated;
    if (n < plain) {
        return pair;
    }
    return rotate(pair, angles[(2u * t + 1u) * rotated + n - plain]);
}

fn index_query(t: u32, head: u32, quad: u32) -> vec4<f32> {
    let four = q[((t * params.q_stride + params.q_offset) >> 2u) + head * QUERY_QUADS + quad];
    return vec4<f32>(rotated_pair(four.xy, t, 2u * quad), rotated_pair(four.zw, t, 2u * quad + 1u));
}

fn fetch_query(t: u32, first: u32, i: u32) -> vec4<f32> {
    return index_query(t, min(first + i / QUERY_QUADS, params.heads - 1u), i % QUERY_QUADS);
}
