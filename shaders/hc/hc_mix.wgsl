// hc_mix: mix[t, o] = fn[o] . flat(X[t]) for o < outputs, and mix[t, outputs] = |X[t]|^2.
// in      w (outputs, 4D) any block format; x (T, 4D) f32
// out     mix (T, 32) f32
// params  Params 32 B
// grid    x: outputs + 1, y: T; one workgroup a dot product
// needs   nothing; subgroups reduce faster
// cost    outputs * 4D weights from cache for each row: latency bound for one row
// source  SPEC 2 (hyper-connections): fn @ N0(flat) is fn @ flat divided by the rms afterwards
struct Params {
    base: u32,    // byte offset of fn in w
    outputs: u32,
    columns: u32, // 4D
    format: u32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;       // (T, 4D/4)
@group(0) @binding(auto) var<storage, read_write> mix: array<f32>;     // (T, 32)
#import lib/dequant
#import lib/reduce

@compute @workgroup_size(WG)
fn hc_mix(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let output = wid.x;
    let t = wid.y;
    let first = t * (params.columns >> 2u);
    let row = params.base + min(output, params.outputs - 1u) * row_bytes(params.format, params.columns);
    var sum = 0.0;
    for (var column = lid * 8u; column < params.columns; column += WG * 8u) {
        let xa = x[first + (column >> 2u)];
        let xb = x[first + (column >> 2u) + 1u];
        if (output == params.outputs) {
            sum = dot8(Weights8(xa, xb), xa, xb, sum);
        } else {
            sum = dot8(dequant8(params.format, row, column), xa, xb, sum);
        }
    }
    let total = workgroup_sum(sum, lid);
    if (lid == 0u) {
        mix[t * 32u + output] = total;
    }
}
