//! Text that is held back, because the text after it decides whether it is shown.

/// Drops newlines at the beginning, and holds back newlines at the end until more text follows.
pub(super) struct Newlines {
    at_start: bool,
    hold: bool,
    held: String,
}

impl Newlines {
    pub fn new(drop_leading: bool, hold_trailing: bool) -> Self {
        Self { at_start: drop_leading, hold: hold_trailing, held: String::new() }
    }

    /// Takes `text` and returns the text that can be shown now.
    pub fn feed(&mut self, text: &str) -> String {
        let text = if self.at_start { text.trim_start_matches('\n') } else { text };
        if text.is_empty() {
            return String::new();
        }
        self.at_start = false;
        let mut shown = std::mem::take(&mut self.held) + text;
        if self.hold {
            self.held = shown.split_off(shown.trim_end_matches('\n').len());
        }
        shown
    }

    /// Returns the newlines that are still held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Looks for stop strings, which may be spread over several texts.
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new() }
    }

    /// Takes `text` and returns the text that can be shown now, and whether a stop string follows it.
    pub fn feed(&mut self, text: &str) -> (String, bool) {
        let mut shown = std::mem::take(&mut self.held) + text;
        if let Some(at) = self.stops.iter().filter_map(|stop| shown.find(stop)).min() {
            shown.truncate(at);
            return (shown, true);
        }
        let begun = self.stops.iter().map(|stop| begun(&shown, stop)).max().unwrap_or(0);
        self.held = shown.split_off(shown.len() - begun);
        (shown, false)
    }

    /// Returns the text that is still held back because it began like a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length in bytes of the longest suffix of `text` that is a proper prefix of `needle`.
pub(super) fn begun(text: &str, needle: &str) -> usize {
    let prefixes = needle.char_indices().map(|(at, _)| at).rev();
    prefixes.into_iter().find(|at| text.ends_with(&needle[..*at])).unwrap_or(0)
}
