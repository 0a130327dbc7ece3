// pages: reads compressed rows through the page table, which maps the pages of a session to pages of the pool.
// needs   PAGE_PAIRS, pairs of a row; PAGES_SEGMENTS; params.max_pages; PAGE_ROWS or params.page_bits; lib/attention/kv
// declares bindings page_table, pages0 ...; PAGE_ROW_WORDS
// gives   page_row(slot, index of the row in its session): its first word in the pool; page_word(word of the pool)
//
// A pool that is larger than the largest binding is split over PAGES_SEGMENTS bindings of SEGMENT_ROWS rows (PAGES_SPLIT).

@group(0) @binding(auto) var<storage, read> page_table: array<u32>; // (slots, params.max_pages) pool page of each session page
#for S PAGES_SEGMENTS
@group(0) @binding(auto) var<storage, read> pages$S: array<KeyWord>; // (rows, PAGE_PAIRS) pairs
#end

const PAGE_ROW_WORDS: u32 = 2u * PAGE_PAIRS / WORD_CHANNELS;

fn page_bits() -> u32 {
#ifdef PAGE_ROWS
    return firstTrailingBit(PAGE_ROWS);
#else
    return params.page_bits;
#endif
}

fn page_row(slot: u32, index: u32) -> u32 {
    let bits = page_bits();
    let page = page_table[slot * params.max_pages + (index >> bits)];
    return (page << bits | index & ((1u << bits) - 1u)) * PAGE_ROW_WORDS;
}

fn page_word(i: u32) -> KeyWord {
#ifdef PAGES_SPLIT
    let segment = i / (SEGMENT_ROWS * PAGE_ROW_WORDS);
    let at = i - segment * (SEGMENT_ROWS * PAGE_ROW_WORDS);
    var word = KeyWord();
#for S PAGES_SEGMENTS
    if (segment == $Su) { word = pages$S[at]; }
#end
    return word;
#else
    return pages0[i];
#endif
}
