// How many keys a position sees, and into how many parts they are split. Both depend on the position alone, so that a row's sums are added
// in the same order whatever else is in the step.

struct Visible {
    window: u32,     // keys of the sliding window
    compressed: u32, // compressed rows attended to
    rows: u32,       // compressed rows visible: more than `compressed` where the indexer selects
}

fn visible(position: u32) -> Visible {
    let window = min(position + 1u, params.window);
    if (params.ratio == 0u) {
        return Visible(window, 0u, 0u);
    }
    let rows = (position + 1u) / params.ratio;
    return Visible(window, min(rows, params.top_k), rows);
}

const SPLIT_KEYS: u32 = 64u; // at least this many keys a part

fn parts(keys: u32) -> u32 {
    return min((keys + SPLIT_KEYS - 1u) / SPLIT_KEYS, MAX_PARTS);
}
