// key_quad: four neighbouring channels of a cached key as f16, for caches of f16 and of f32.
// needs   flag F16; lib/attention/kv
// gives   key_quad(key word of four channels)
//
// The conversion is apart from the load, so that a kernel can keep the loaded word in flight until it needs the channels.

#import lib/numbers/half

fn key_quad(word: KeyWord) -> vec4<f16> {
#ifdef KV_F16
    // No clamp: kv_pack saturated the values.
    return vec4<f16>(key_channels(word));
#else
    return to_half(key_channels(word));
#endif
}
