//! Tables of launches, as text and as JSON lines.

use crate::gpu::{Cost, Variant};
use serde_json::json;

/// Families of kernels, in the order in which their sums are printed.
const FAMILIES: [&str; 12] =
    ["linear", "moe", "attention", "indexer", "compressor", "hc", "kv", "norm", "router", "embed", "sample", "stream"];

/// The family of a kernel: the folder of its shader. The matrix products of experts are in the folder of the others.
pub fn family(variant: &Variant) -> &'static str {
    if variant.flags().contains(&"EXPERTS") { "moe" } else { variant.folder() }
}

/// A row of a table: a kind of launch and its time.
pub struct Line {
    /// The kernel.
    pub kernel: &'static str,
    /// The flags and constants that distinguish its variant from others.
    pub label: String,
    /// One of [`FAMILIES`].
    pub family: &'static str,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// Number of launches.
    pub launches: usize,
    /// Cost of all launches together.
    pub cost: Cost,
    /// Seconds of all launches together.
    pub seconds: f64,
    /// Seconds by which the step is shorter without them.
    pub in_place: Option<f64>,
}

impl Line {
    /// 10^9 bytes per second.
    fn gigabytes(&self) -> Option<f64> {
        (self.cost.bytes > 0).then(|| self.cost.bytes as f64 / self.seconds / 1e9)
    }

    /// 10^12 operations per second.
    fn teraflops(&self) -> Option<f64> {
        (self.cost.flops > 0).then(|| self.cost.flops as f64 / self.seconds / 1e12)
    }
}

/// The time of a step, by kind of launch.
pub struct Table {
    /// "prefill" or "decode".
    pub name: &'static str,
    /// A description of the step.
    pub title: String,
    /// Number of launches.
    pub launches: usize,
    /// Number of launches that wait for all launches before them.
    pub in_turn: usize,
    /// The kinds of launches, the longest first.
    pub lines: Vec<Line>,
    /// Seconds of the whole step in one pass.
    pub whole: f64,
    /// Bytes per second that the device reads.
    pub bandwidth: Option<f64>,
}

impl Table {
    /// Seconds of all kinds together.
    fn sum(&self) -> f64 {
        self.lines.iter().map(|line| line.seconds).sum()
    }

    /// Launches and seconds of each family that has any.
    fn families(&self) -> impl Iterator<Item = (&'static str, usize, f64)> {
        FAMILIES.iter().filter_map(|family| {
            let own = self.lines.iter().filter(|line| line.family == *family);
            let launches = own.clone().map(|line| line.launches).sum();
            (launches > 0).then(|| (*family, launches, own.map(|line| line.seconds).sum()))
        })
    }

    /// The share of the device's bandwidth that a kind uses.
    fn share(&self, line: &Line) -> Option<f64> {
        line.gigabytes().zip(self.bandwidth).map(|(rate, most)| rate * 1e9 / most)
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        let wide = self.lines.iter().map(|line| line.label.len()).max().unwrap_or(0).max("variant".len());
        let sum = self.sum();
        let mut text = format!(
            "\n{}: {} launches, {} in turn\n{:<16} {:<wide$} {:>14} {:>8} {:>9} {:>8} {:>8} {:>7} {:>8} {:>10} {:>6}\n",
            self.title,
            self.launches,
            self.in_turn,
            "kernel",
            "variant",
            "grid",
            "launches",
            "us each",
            "in place",
            "GB/s",
            "of peak",
            "TFLOP/s",
            "us a step",
            "%"
        );
        for line in &self.lines {
            let [x, y, z] = line.grid;
            text += &format!(
                "{:<16} {:<wide$} {:>14} {:>8} {:>9.2} {:>8} {:>8} {:>7} {:>8} {:>10.1} {:>6.1}\n",
                line.kernel,
                line.label,
                format!("{x}x{y}x{z}"),
                line.launches,
                line.seconds * 1e6 / line.launches as f64,
                number(line.in_place.map(|seconds| seconds * 1e6 / line.launches as f64), 2),
                number(line.gigabytes(), 1),
                number(self.share(line), 2),
                number(line.teraflops(), 3),
                line.seconds * 1e6,
                line.seconds * 100.0 / sum
            );
        }
        for (family, launches, seconds) in self.families() {
            text += &format!("  {family:<18} {launches:>5} {:>10.1} us {:>5.1}%\n", seconds * 1e6, seconds * 100.0 / sum);
        }
        let (sum, whole) = (sum * 1e6, self.whole * 1e6);
        text + &format!("  {:<18} {:>5} {sum:>10.1} us; the step in one pass {whole:.1} us\n", "all", self.launches)
    }

    /// The table as JSON: a line for each kind, and one for the step.
    pub fn rows(&self) -> String {
        let step = self.name;
        let mut text = String::new();
        for line in &self.lines {
            let us = line.seconds * 1e6;
            let row = json!({
                "step": step, "kernel": line.kernel, "variant": line.label, "family": line.family, "grid": line.grid,
                "launches": line.launches, "us": us / line.launches as f64,
                "us_in_place": line.in_place.map(|seconds| seconds * 1e6 / line.launches as f64), "gb_per_s": line.gigabytes(),
                "share_of_bandwidth": self.share(line), "tflops": line.teraflops(), "us_a_step": us,
            });
            text += &format!("{row}\n");
        }
        let families: serde_json::Map<_, _> = self.families().map(|(family, _, s)| (family.to_string(), json!(s * 1e6))).collect();
        let (launches, sum, whole) = (self.launches, self.sum() * 1e6, self.whole * 1e6);
        let row = json!({ "step": step, "launches": launches, "in_turn": self.in_turn, "sum_us": sum, "pass_us": whole, "families_us": families });
        text + &format!("{row}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_a_step_has_a_family() {
        for kernel in crate::gpu::kernels().filter(|kernel| *kernel != "stream_read") {
            assert!(FAMILIES.contains(&family(&Variant::new(kernel))), "{kernel}");
        }
        assert_eq!(family(&Variant::new("matmul")), "linear");
        assert_eq!(family(&Variant::new("matmul").flag("EXPERTS")), "moe");
    }

    #[test]
    fn a_table_says_what_is_not_known_with_a_dash() {
        let line = |kernel, bytes, seconds| Line {
            kernel,
            label: "-".into(),
            family: "router",
            grid: [1, 2, 3],
            launches: 2,
            cost: Cost { bytes, flops: 0 },
            seconds,
            in_place: (bytes > 0).then_some(4e-6),
        };
        let lines = vec![line("a", 3000, 3e-6), line("b", 0, 1e-6)];
        let table = Table { name: "decode", title: "a step".into(), launches: 4, in_turn: 3, lines, whole: 5e-6, bandwidth: Some(4e9) };
        let text = table.text();
        let words = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(3), ["a", "-", "1x2x3", "2", "1.50", "2.00", "1.0", "0.25", "-", "3.0", "75.0"]);
        assert_eq!(words(4), ["b", "-", "1x2x3", "2", "0.50", "-", "-", "-", "-", "1.0", "25.0"]);
        assert!(text.ends_with("  all                    4        4.0 us; the step in one pass 5.0 us\n"), "{text}");
        assert_eq!(table.rows().lines().count(), 3);
    }
}
