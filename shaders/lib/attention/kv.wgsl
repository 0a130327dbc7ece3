// kv: the types in which keys and values are cached: pairs of f16 in one word (KV_F16), else pairs of f32 in two words.
// needs   nothing; flags KV_F16, KEYS_BY_EIGHT (only with KV_F16)
// declares PAIR_WORDS, words of a pair; KeyWord, what one load of a key fetches; WORD_CHANNELS, the channels in it
// gives   kv_pack(pair), kv_unpack(words of a pair), key_channels(words of four channels)
//
// Kernels write a cache by pairs. They read it by key words of four channels, or of eight with KEYS_BY_EIGHT, to have fewer and wider
// loads.

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
    // pack2x16float is undefined beyond the range of f16, so larger values saturate.
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
