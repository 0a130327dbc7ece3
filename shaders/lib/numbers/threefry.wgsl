// threefry: Threefry-2x32 with 20 rounds (Salmon et al. 2011), a counter-based generator: a draw depends on seed and position alone.
// needs   nothing
// gives   threefry(key, counter): 64 random bits; uniform_draw(seed, position): uniform in [0, 1)

fn threefry_rotation(round: u32) -> u32 {
    switch round & 7u {
        case 0u: { return 13u; }
        case 1u: { return 15u; }
        case 2u: { return 26u; }
        case 3u: { return 6u; }
        case 4u: { return 17u; }
        case 5u: { return 29u; }
        case 6u: { return 16u; }
        default: { return 24u; }
    }
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let schedule = vec3<u32>(key, 0x1bd11bdau ^ key.x ^ key.y);
    var x = counter + key;
    for (var round = 0u; round < 20u; round++) {
        let by = threefry_rotation(round);
        x.x += x.y;
        x.y = ((x.y << by) | (x.y >> (32u - by))) ^ x.x;
        if ((round & 3u) == 3u) {
            let i = round / 4u + 1u;
            x += vec2<u32>(schedule[i % 3u], schedule[(i + 1u) % 3u] + i);
        }
    }
    return x;
}

fn uniform_draw(seed: vec2<u32>, position: u32) -> f32 {
    return f32(threefry(seed, vec2<u32>(position, 0u)).x >> 8u) * (1.0 / 16777216.0);
}
