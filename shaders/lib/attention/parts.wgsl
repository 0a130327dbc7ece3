// parts: the number of parts that the keys of a row are split into, one workgroup each.
// needs   SPLIT_KEYS, MAX_PARTS
// gives   parts(number of keys): a part has at most SPLIT_KEYS keys, unless there would be more than MAX_PARTS parts
//
// How many parts a row has follows from its position alone. So its sums are always added in the same order, whichever other rows are in the
// step.

fn parts(keys: u32) -> u32 {
    return min((keys + SPLIT_KEYS - 1u) / SPLIT_KEYS, MAX_PARTS);
}
