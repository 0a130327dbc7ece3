// swiglu_shared: act[t, f] = swiglu(gate, up) for the shared expert, whose gate and up lie side by side in one buffer.
// in      x (T, stride) f32: gate (F) at `gate`, up (F) at `up`
// out     act (T, F) f32, or f16 with Y_F16
// params  Params 32 B
// grid    x: ceil(F / WG), y: T
// needs   nothing
// cost    12 F bytes a row
// source  SPEC 3.5
struct Params {
    width: u32,  // F
    stride: u32, // floats
    gate: u32,   // floats
    up: u32,     // floats
    limit: f32,
}

@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (T, stride)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> act: array<f16>; // (T, F)
#else
@group(0) @binding(auto) var<storage, read_write> act: array<f32>; // (T, F)
#endif
#import lib/math
#import lib/element

@compute @workgroup_size(WG)
fn swiglu_shared(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let f = wid.x * WG + lid;
    let t = wid.y;
    if (f < params.width) {
        let row = t * params.stride;
        let value = swiglu(x[row + params.gate + f], x[row + params.up + f], params.limit);
        act[t * params.width + f] = element(vec4<f32>(value)).x;
    }
}
