// prefetch: touches weights that a later launch reads, one word in each PAGE, so that the TLB has their pages by then.
// needs   PREFETCH, the number of ranges, one or two; params.prefetch: (byte offset, bytes) of each range
// declares bindings range_words0 ...; PAGE
// gives   prefetch_words(local index): a mix of the words, by one workgroup; is_used(that): a condition that practically never holds

#ifdef PREFETCH
const PAGE: u32 = 1u << 21u; // bytes
#for A PREFETCH
@group(0) @binding(auto) var<storage, read> range_words$A: array<u32>; // arena
#end

// Each invocation loads one word of each range. Past the end of a range it loads the last word.
fn prefetch_words(lid: u32) -> u32 {
    var words = 0u;
#for A PREFETCH
    let range$A = select(params.prefetch.xy, params.prefetch.zw, $Au == 1u);
    words ^= range_words$A[(range$A.x + min(lid * PAGE, range$A.y - 4u)) >> 2u];
#end
    return words;
}

// Keeps the loads from being eliminated: the kernel stores something meaningless where this holds, and the compiler cannot know that it
// never does.
fn is_used(words: u32) -> bool {
    return words == 0x5a5aa5a5u;
}
#endif
