// Into how many parts keys are split, of at least SPLIT_KEYS where there are more than one: as many for the same position always, so that a
// row's sums are added in the same order whatever else is in the step.

fn parts(keys: u32) -> u32 {
    return min((keys + SPLIT_KEYS - 1u) / SPLIT_KEYS, MAX_PARTS);
}
