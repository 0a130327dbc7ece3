// The newest rows of each session into RINGS rings indexed by position: ring[slot, position mod size] = source[t]. The kernel declares rows,
// and in its parameters
//   sources, array<vec4<u32>, 3>: words of a row, stride and offset in words, size: rows of a session's ring
//   places, array<vec4<u32>, 3>: first: the binding's first ring row, counted through all sessions; held: its rows; two zeros

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> live: array<u32>;        // (slots)
#for I RINGS
@group(0) @binding(auto) var<storage, read> source_$I: array<u32>;     // (T, stride)
@group(0) @binding(auto) var<storage, read_write> ring_$I: array<u32>; // (held, words)
#end

// Word `i` of row `t`, where it has so many.
fn store_ring_word(ring: u32, t: u32, i: u32) {
    let row = rows[t];
    let source = params.sources[ring];
    let words = source.x;
    let size = source.w;
    let held = params.places[ring].xy;
    // Of a long chunk only the last `size` rows stay: earlier ones would race with them for the same place.
    let place = row.slot * size + row.position % size;
    if (i >= words || live[row.slot] == 0u || row.last_row - t >= size || place < held.x || place - held.x >= held.y) {
        return;
    }
    let to = (place - held.x) * words + i;
    let at = t * source.y + source.z + i;
    switch ring {
#for I RINGS
        case $Iu: {
            ring_$I[to] = source_$I[at];
        }
#end
        default: {}
    }
}
