// Four neighbouring channels of a key as f16, whatever the cache's type.
#import lib/half

fn key_quad(place: u32, quad: u32) -> vec4<f16> {
#ifdef KV_F16
    let low = kv_unpack(key_word(place, 2u * quad));
    let high = kv_unpack(key_word(place, 2u * quad + 1u));
#else
    let low = kv_unpack(vec2<u32>(key_word(place, 4u * quad), key_word(place, 4u * quad + 1u)));
    let high = kv_unpack(vec2<u32>(key_word(place, 4u * quad + 2u), key_word(place, 4u * quad + 3u)));
#endif
    return to_half(vec4<f32>(low, high));
}
