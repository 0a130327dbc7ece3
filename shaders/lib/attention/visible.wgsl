// visible: the number of keys that a row attends to, a function of its position alone.
// needs   params.window, params.ratio, params.top_k
// declares Visible
// gives   visible(position)

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
