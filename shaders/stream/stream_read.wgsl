// stream_read: reads a buffer once, to measure the bandwidth of a device's memory.
// in      source (n) 16-byte words
// out     sums (workgroups), stored under a condition that depends on every word, so that no load can be eliminated
// params  Params 4 B
// grid    as many workgroups as fill the device; each walks the buffer in steps of the whole grid
// needs   nothing
// cost    16 n bytes read: bandwidth bound
// source  none: benchmarks compare kernels with its bandwidth
struct Params {
    words: u32, // 16-byte words
}

@group(0) @binding(auto) var<storage, read> source: array<vec4<u32>>;  // (n)
@group(0) @binding(auto) var<storage, read_write> sums: array<u32>;    // (workgroups)

@compute @workgroup_size(WG)
fn stream_read(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    var sum = vec4<u32>(0u);
    for (var i = wid.x * WG + lid; i < params.words; i += workgroups.x * WG) {
        sum ^= source[i];
    }
    // True once in 2^32 cases, which the compiler cannot know.
    if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x9e3779b9u) {
        sums[wid.x] = lid;
    }
}
