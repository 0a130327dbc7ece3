// q_rope: normalises each query head (N0) and applies RoPE to its last R channels, in place.
// in      x (T, heads * dim) f32 at x_offset of rows of x_stride; angles (T, 2, R/2) (cos, sin), plain set then compressed set
// out     x
// params  Params 24 B
// grid    x: heads, y: T; one workgroup a head
// needs   dim even
// cost    8 bytes a channel: bandwidth bound
// source  SPEC 2.2 (neighbouring channels, last R), SPEC 3.1 (step 2)
struct Params {
    dim: u32,
    rope: u32,       // R
    x_stride: u32,   // floats
    x_offset: u32,   // floats
    angle_set: u32,  // 0 plain, 1 compressed layers
    eps: f32,
}

@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;  // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read_write> x: array<vec2<f32>>; // (T, x_stride/2)
#import lib/reduce/workgroup
#import lib/attention/rotate

@compute @workgroup_size(WG)
fn q_rope(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.y;
    let pairs = params.dim >> 1u;
    let x_at = (t * params.x_stride + params.x_offset + wid.x * params.dim) >> 1u;
    var squares = 0.0;
    for (var i = lid; i < pairs; i += WG) {
        squares += dot(x[x_at + i], x[x_at + i]);
    }
    let scale = inverseSqrt(workgroup_sum(squares, lid) / f32(params.dim) + params.eps);
    let plain = pairs - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
    for (var i = lid; i < pairs; i += WG) {
        var value = x[x_at + i] * scale;
        if (i >= plain) {
            value = rotate(value, angles[turn + i - plain]);
        }
        x[x_at + i] = value;
    }
}
