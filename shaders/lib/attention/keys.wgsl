// keys: finds and reads the keys that a row attends to: those of the window, from this step or a ring, then compressed rows in pages.
// needs   lib/attention/kv, lib/attention/pages; bindings kv, ring0 ...; with RING_SPLIT RING_SEGMENTS, RING_SEGMENT_ROWS; without PLACED
//         params.ring_rows, params.top_k, binding selected, lib/attention/visible, lib/rows/rows
// gives   key_place(row, its number t, what it sees, number of the key): a place, not with PLACED; key_word(place, word of the key);
//         ring_word(row of the rings, word)
//
// A place is 32 bits: the upper two say which of the three holds the key, the others are its row number there.

const FROM_STEP: u32 = 0u;
const FROM_RING: u32 = 1u << 30u;
const FROM_PAGES: u32 = 2u << 30u;
const PLACE_ROW: u32 = 0x3fffffffu; // the bits of the number

#ifndef PLACED
fn key_place(row: Row, t: u32, sees: Visible, n: u32) -> u32 {
    if (n < sees.window) {
        let position = row.position + 1u + n - sees.window;
        if (position >= row.first_position) {
            return FROM_STEP | (row.first_row + position - row.first_position);
        }
        return FROM_RING | (row.slot * params.ring_rows + position % params.ring_rows);
    }
    var index = n - sees.window;
    if (sees.rows > sees.compressed) {
        index = selected[t * params.top_k + index];
    }
    return FROM_PAGES | (page_row(row.slot, index) / PAGE_ROW_WORDS);
}
#endif

fn ring_word(row: u32, word: u32) -> KeyWord {
#ifdef RING_SPLIT
    let segment = row / RING_SEGMENT_ROWS;
    let at = (row - segment * RING_SEGMENT_ROWS) * PAGE_ROW_WORDS + word;
    var value = KeyWord();
#for S RING_SEGMENTS
    if (segment == $Su) { value = ring$S[at]; }
#end
    return value;
#else
    return ring0[row * PAGE_ROW_WORDS + word];
#endif
}

fn key_word(place: u32, word: u32) -> KeyWord {
    let row = place & PLACE_ROW;
    if (place < FROM_RING) {
        return kv[row * PAGE_ROW_WORDS + word];
    }
    if (place < FROM_PAGES) {
        return ring_word(row, word);
    }
    return page_word(row * PAGE_ROW_WORDS + word);
}
