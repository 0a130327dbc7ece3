// ring_store: copies the newest rows of each session into RINGS rings indexed by position: ring[slot, position mod size] = source[t].
// in      rows (T) Row; live (slots); source i (T, stride) words, of which `words` at `offset` are copied
// out     ring i (slots, size, words) words; its binding holds ring rows [first, first + held)
// params  Params 96 B
// grid    x: ceil(most words / WG), y: T, z: RINGS
// needs   RINGS at most 3
// cost    8 bytes a word
// source  SPEC 5 (raw ring, frontiers)
struct Params {
    sources: array<vec4<u32>, 3>, // lib/attention/ring_row
    places: array<vec4<u32>, 3>,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>; // (T)
#import lib/attention/ring_row

@compute @workgroup_size(WG)
fn ring_store(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    store_ring_word(wid.z, wid.y, wid.x * WG + lid);
}
