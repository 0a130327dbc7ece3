// Four neighbouring channels of a key as f16, whatever the cache's type. Apart from the load, so that the load can be long under way.
#import lib/numbers/half

fn key_quad(word: KeyWord) -> vec4<f16> {
#ifdef KV_F16
    // Saturated when they were cached (kv_pack).
    return vec4<f16>(key_channels(word));
#else
    return to_half(key_channels(word));
#endif
}
