// Cached rows as words: an f16 pair in one word (KV_F16), or f32 in two. Always written a pair at a time; keys are read by key words of four
// neighbouring channels, so that one load fetches them; of f16 by eight where the kernel says so (KEYS_BY_EIGHT).

#ifdef KV_F16
const PAIR_WORDS: u32 = 1u;
#else
const PAIR_WORDS: u32 = 2u;
#endif

#ifdef KEYS_BY_EIGHT
alias KeyWord = vec4<u32>;
const WORD_CHANNELS: u32 = 8u;
#else
#ifdef KV_F16
alias KeyWord = vec2<u32>;
#else
alias KeyWord = vec4<u32>;
#endif
const WORD_CHANNELS: u32 = 4u;
#endif

#ifdef KV_F16
fn kv_unpack(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}

fn key_channels(word: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(kv_unpack(word.x), kv_unpack(word.y));
}

fn kv_pack(pair: vec2<f32>) -> u32 {
    // Beyond f16's range packing is undefined; the largest finite value is the nearest.
    return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
#else
fn kv_unpack(words: vec2<u32>) -> vec2<f32> {
    return bitcast<vec2<f32>>(words);
}

fn key_channels(word: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(word);
}

fn kv_pack(pair: vec2<f32>) -> vec2<u32> {
    return bitcast<vec2<u32>>(pair);
}
#endif
