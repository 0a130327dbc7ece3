// mixed: adds up the slices of a row's mix that hc_mix wrote, in an order that depends on the variant alone.
// needs   WG; SLICES; GATHERED = ceil(32 SLICES / WG); PARTS, a multiple of four: WG / 32, or SLICES rounded up if less; binding mix as
//         array<f32>
// declares workgroup variable mixed
// gives   gather_mix(row, local index): the row's dot products are in mixed[0] to mixed[31], behind a barrier

var<workgroup> mixed: array<f32, WG>; // the row's dot products in the first 32

fn gather_mix(t: u32, lid: u32) {
    const WORDS: u32 = SLICES * 32u;
    // All loads come first, so that they are in flight together.
#for G GATHERED
    let part$G = mix[t * WORDS + min(lid + $Gu * WG, WORDS - 1u)];
#end
    var sum = 0.0;
#for G GATHERED
    sum += select(0.0, part$G, lid + $Gu * WG < WORDS);
#end
    mixed[lid] = sum;
    workgroupBarrier();
    if (lid < 32u) {
        var sums = vec4<f32>(0.0);
#for P PARTS
        sums[$P % 4] += mixed[$Pu * 32u + lid];
#end
        mixed[lid] = (sums.x + sums.y) + (sums.z + sums.w);
    }
    workgroupBarrier();
}
