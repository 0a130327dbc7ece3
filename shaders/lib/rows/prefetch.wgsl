// Asking for weights ahead of the launch that needs them: of a word in each PAGE the device looks up where it lies, and knows it then.
// PREFETCH: one or two ranges of weights, (byte offset, bytes) each in `params.prefetch`; declare Params first.

#ifdef PREFETCH
const PAGE: u32 = 1u << 21u;
#for A PREFETCH
@group(0) @binding(auto) var<storage, read> range_words$A: array<u32>; // arena
#end

// By the lanes of one workgroup. Lanes beyond a range's end read its last word.
fn touch_ahead(lid: u32) -> u32 {
    var words = 0u;
#for A PREFETCH
    let range$A = select(params.prefetch.xy, params.prefetch.zw, $Au == 1u);
    words ^= range_words$A[(range$A.x + min(lid * PAGE, range$A.y - 4u)) >> 2u];
#end
    return words;
}

// Without a use of the words nobody would read them: where this is true the kernel writes something that means nothing.
fn is_used(words: u32) -> bool {
    return words == 0x5a5aa5a5u;
}
#endif
