// Asking for weights ahead of the launch that needs them: of a word in each PAGE the device looks up where it lies, and knows it then.
// AHEAD: one or two ranges of weights, (byte offset, bytes) each in `params.ahead`; declare Params first.

#ifdef AHEAD
const PAGE: u32 = 1u << 21u;
#for A AHEAD
@group(0) @binding(auto) var<storage, read> ahead$A: array<u32>; // arena
#end

// By the lanes of one workgroup. Lanes beyond a range's end read its last word.
fn ask_ahead(lid: u32) -> u32 {
    var words = 0u;
#for A AHEAD
    let range$A = select(params.ahead.xy, params.ahead.zw, $Au == 1u);
    words ^= ahead$A[(range$A.x + min(lid * PAGE, range$A.y - 4u)) >> 2u];
#end
    return words;
}

// Without a use of the words nobody would read them: where this is true the kernel writes something that means nothing.
fn is_used(words: u32) -> bool {
    return words == 0x5a5aa5a5u;
}
#endif
