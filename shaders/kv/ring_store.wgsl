// ring_store: the newest rows of each session into rings indexed by position: ring[slot, position mod size] = source[t], RINGS rings at once.
// in      rows (T) Row; live (slots); source i (T, stride) words, `words` of them at `offset`
// out     ring i (slots, size, words) words; its binding holds ring rows [first, first + held)
// params  Params 96 B
// grid    x: ceil(most words / WG), y: T, z: RINGS
// needs   RINGS at most 3
// cost    8 bytes a word
// source  SPEC 5 (raw ring, frontiers)
struct Params {
    sources: array<vec4<u32>, 3>, // words, stride and offset in words, size: rows of a session's ring
    places: array<vec4<u32>, 3>,  // first: the binding's first ring row, counted through all sessions; held; two zeros
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;        // (T)
@group(0) @binding(auto) var<storage, read> live: array<u32>;        // (slots)
#for I RINGS
@group(0) @binding(auto) var<storage, read> source_$I: array<u32>;     // (T, stride)
@group(0) @binding(auto) var<storage, read_write> ring_$I: array<u32>; // (held, words)
#end

@compute @workgroup_size(WG)
fn ring_store(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = wid.x * WG + lid;
    let t = wid.y;
    let row = rows[t];
    let source = params.sources[wid.z];
    let words = source.x;
    let size = source.w;
    let held = params.places[wid.z].xy;
    // Of a long chunk only the last `size` rows stay: earlier ones would race with them for the same place.
    let place = row.slot * size + row.position % size;
    if (i >= words || live[row.slot] == 0u || row.last_row - t >= size || place < held.x || place - held.x >= held.y) {
        return;
    }
    let to = (place - held.x) * words + i;
    let at = t * source.y + source.z + i;
    switch wid.z {
#for I RINGS
        case $Iu: {
            ring_$I[to] = source_$I[at];
        }
#end
        default: {}
    }
}
