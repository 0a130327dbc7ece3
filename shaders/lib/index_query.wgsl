// Queries of the indexer, rotated as rows of compressed layers are. The kernel declares q (T, q_stride/4) and angles (T, 2, R/2), DIM, and
// params.q_stride, q_offset (floats) and rope (R).

#import lib/rotate

const QUERY_QUADS: u32 = DIM / 4u;

fn turned_pair(pair: vec2<f32>, t: u32, n: u32) -> vec2<f32> {
    let turns = params.rope >> 1u;
    let plain = DIM / 2u - turns;
    if (n < plain) {
        return pair;
    }
    return rotate(pair, angles[(2u * t + 1u) * turns + n - plain]);
}

// Channels 4 `quad` and on of head `head`.
fn index_query(t: u32, head: u32, quad: u32) -> vec4<f32> {
    let four = q[((t * params.q_stride + params.q_offset) >> 2u) + head * QUERY_QUADS + quad];
    return vec4<f32>(turned_pair(four.xy, t, 2u * quad), turned_pair(four.zw, t, 2u * quad + 1u));
}
