// decode_runs: y = W as matmul_coop stages it, rounded to f16. It tests lib/formats/runs on devices without cooperative matrices.
// in      w (R, C) any block format
// out     y (R, 32 runs) f32, runs = ceil(C / 32): zeros past the last column
// params  Params 12 B
// grid    x: ceil(C / 32 / WG), y: R; one invocation a run
// needs   f16; C a multiple of 8
// cost    W and 4 C bytes a row
// source  SPEC 10
struct Params {
    base: u32,    // byte offset of the first row in w
    columns: u32, // C
    format: u32,
}

@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>; // (R, 8 runs)
#import lib/formats/dequant
#import lib/numbers/half
#import lib/formats/runs

@compute @workgroup_size(WG)
fn decode_runs(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    prepare_runs(lid);
    workgroupBarrier();
    let runs = (params.columns + 31u) / 32u;
    let run = wid.x * WG + lid;
    let column = run * 32u;
    let row = params.base + wid.y * row_bytes(params.format, params.columns);
    let halves = decode32(params.format, row, column, fetch32(params.format, row, column, params.columns));
    if (run >= runs) {
        return;
    }
#for P 8
    y[(wid.y * runs + run) * 8u + $Pu] = vec4<f32>(halves[$P]);
#end
}
