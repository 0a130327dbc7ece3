// Into how many parts keys are split: as many for the same position always, so that a row's sums are added in the same order whatever else is
// in the step.

const SPLIT_KEYS: u32 = 32u; // at least this many keys a part

fn parts(keys: u32) -> u32 {
    return min((keys + SPLIT_KEYS - 1u) / SPLIT_KEYS, MAX_PARTS);
}
