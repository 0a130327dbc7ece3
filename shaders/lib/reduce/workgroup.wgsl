// workgroup: a sum over a workgroup of WG invocations, by subgroups of SUBGROUP, else by a tree in workgroup memory.
// needs   WG, a power of two; SUBGROUP where there are subgroups
// declares workgroup variable reduce_partial
// gives   workgroup_sum(value, local index): the sum, in every invocation; by a whole workgroup
//
// Real subgroups may be larger than SUBGROUP: values are exchanged among SUBGROUP neighbours only. The order of additions depends on the
// variant alone.

#ifdef SUBGROUP
var<workgroup> reduce_partial: array<f32, WG / SUBGROUP>;

fn workgroup_sum(value: f32, lid: u32) -> f32 {
    var sum = value;
    for (var step = 1u; step < SUBGROUP; step <<= 1u) {
        sum += subgroupShuffleXor(sum, step);
    }
    workgroupBarrier();
    if (lid % SUBGROUP == 0u) {
        reduce_partial[lid / SUBGROUP] = sum;
    }
    workgroupBarrier();
    var total = reduce_partial[0];
    for (var i = 1u; i < WG / SUBGROUP; i++) {
        total += reduce_partial[i];
    }
    return total;
}
#else
var<workgroup> reduce_partial: array<f32, WG>;

fn workgroup_sum(value: f32, lid: u32) -> f32 {
    workgroupBarrier();
    reduce_partial[lid] = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half >>= 1u) {
        if (lid < half) {
            reduce_partial[lid] += reduce_partial[lid + half];
        }
        workgroupBarrier();
    }
    return reduce_partial[0];
}
#endif
