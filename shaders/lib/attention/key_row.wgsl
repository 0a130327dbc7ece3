// key_row: one window key, which is its value too: kv[t] = RoPE(N(x; weight), position of row t), in the cache's type.
// needs   WG; params.eps, params.rope, params.angle_set; bindings kv (T, dim/2 pairs) as u32, angles (T, 2, R/2); functions x_pair(i),
//         weight_pair(i), which read pair i of x and of the weight
// gives   key_row(row t, first pair of x, first pair of the weight, dim, local index), by a whole workgroup

#import lib/attention/kv
#import lib/reduce/workgroup
#import lib/attention/rotate

fn key_row(t: u32, x: u32, weight: u32, dim: u32, lid: u32) {
    let pairs = dim >> 1u;
    var squares = 0.0;
    for (var i = lid; i < pairs; i += WG) {
        let value = x_pair(x + i);
        squares += dot(value, value);
    }
    let scale = inverseSqrt(workgroup_sum(squares, lid) / f32(dim) + params.eps);
    let plain = pairs - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
    for (var i = lid; i < pairs; i += WG) {
        var value = x_pair(x + i) * scale * weight_pair(weight + i);
        if (i >= plain) {
            value = rotate(value, angles[turn + i - plain]);
        }
        let at = (t * pairs + i) * PAIR_WORDS;
        let packed = kv_pack(value);
#ifdef KV_F16
        kv[at] = packed;
#else
        kv[at] = packed.x;
        kv[at + 1u] = packed.y;
#endif
    }
}
