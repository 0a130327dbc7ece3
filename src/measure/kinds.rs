//! Kinds of launches. Launches that differ only in buffers and parameters are of one kind, and are measured and printed together.

use crate::gpu::{Cost, Dispatch, Recording, Variant};

/// Launches of a step that differ only in buffers and parameters.
pub struct Kind<'a> {
    /// The kernel in its variant.
    pub variant: &'a Variant,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// The launches, in the order of the step.
    pub launches: Vec<&'a Dispatch>,
}

impl Kind<'_> {
    fn has(&self, launch: &Dispatch) -> bool {
        self.grid == launch.grid && *self.variant == launch.variant
    }

    /// The other launches of `step`.
    pub fn left_out_of(&self, step: &Recording) -> Recording {
        Recording::of(step.dispatches().iter().filter(|launch| !self.has(launch)))
    }

    /// Cost of all launches together. A part of it that is unknown for one launch is unknown for the kind.
    pub fn cost(&self) -> Cost {
        let sum = |of: fn(&Cost) -> u64| {
            let each = self.launches.iter().map(|launch| of(&launch.cost));
            if each.clone().all(|n| n > 0) { each.sum() } else { 0 }
        };
        Cost { bytes: sum(|c| c.bytes), flops: sum(|c| c.flops) }
    }
}

/// The kinds of launches of a step, in the order of their first launches.
pub fn kinds(step: &Recording) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for launch in step.dispatches() {
        match kinds.iter_mut().find(|kind| kind.has(launch)) {
            Some(kind) => kind.launches.push(launch),
            None => kinds.push(Kind { variant: &launch.variant, grid: launch.grid, launches: vec![launch] }),
        }
    }
    kinds
}

/// The flags of a variant, the formats of its weights, and those constants that distinguish it from others of `kinds`.
pub fn label(variant: &Variant, kinds: &[Kind<'_>]) -> String {
    let alike: Vec<_> =
        kinds.iter().map(|kind| kind.variant).filter(|v| v.kernel() == variant.kernel() && v.flags() == variant.flags()).collect();
    let formats = variant.constants().iter().filter_map(|(name, _)| name.strip_prefix("FORMAT_")).map(str::to_lowercase);
    let telling = variant.constants().iter().filter(|constant| !alike.iter().all(|other| other.constants().contains(constant)));
    let constants = telling.filter(|(name, _)| !name.starts_with("FORMAT")).map(|(name, value)| format!("{name}={value}"));
    let parts: Vec<_> = variant.flags().iter().map(ToString::to_string).chain(formats).chain(constants).collect();
    if parts.is_empty() { "-".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Binding;

    #[test]
    fn kinds_differ_in_variant_or_grid_and_are_told_apart_by_what_differs() {
        let matvec =
            |lanes| Variant::new("matvec").constant("FORMAT_Q8_0", 3).constant("FORMAT", 3).constant("WG", 256).constant("LANES", lanes);
        let mut step = Recording::new();
        for (variant, x, bytes) in [(matvec(32), 1, 5), (matvec(32), 2, 5), (matvec(16), 1, 0), (matvec(32), 1, 6), (matvec(16), 1, 7)] {
            step.dispatch(variant, &0u32, Vec::<Binding>::new(), [x, 1, 1]);
            step.cost(Cost { bytes, flops: 1 });
        }
        step.dispatch(Variant::new("matmul").flag("EXPERTS"), &0u32, Vec::<Binding>::new(), [1, 1, 1]);
        let kinds = kinds(&step);
        assert_eq!(kinds.iter().map(|k| k.launches.len()).collect::<Vec<_>>(), [2, 1, 2, 1]);
        assert_eq!(kinds[0].cost(), Cost { bytes: 11, flops: 2 });
        assert_eq!(kinds[2].cost(), Cost { bytes: 0, flops: 2 }, "one of them is not known");
        let others: Vec<_> = kinds[0].left_out_of(&step).dispatches().iter().map(|launch| launch.cost.bytes).collect();
        assert_eq!(others, [5, 0, 7, 0], "all but the two of 5 and 6 bytes");
        let labels: Vec<_> = kinds.iter().map(|k| label(k.variant, &kinds)).collect();
        assert_eq!(labels, ["q8_0 LANES=32", "q8_0 LANES=32", "q8_0 LANES=16", "EXPERTS"]);
    }
}
