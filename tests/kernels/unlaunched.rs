//! The checks launch every kernel, except those that are listed here with a reason.

use super::adapters::{all_are_software, ways};
use dwarfstar::gpu::kernels;
use dwarfstar::kernels::{KernelProfile, variants};
use std::collections::BTreeSet;

const NEEDS_MATRICES: &str = "no software driver has cooperative matrices";

/// Kernels that the checks do not launch on software drivers, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("attention_coop", NEEDS_MATRICES),
    ("attention_scores", NEEDS_MATRICES),
    ("attention_stats", "reads the scores of cooperative matrices"),
    ("attention_values", NEEDS_MATRICES),
    ("index_score_coop", NEEDS_MATRICES),
    ("index_score_few", NEEDS_MATRICES),
    ("matmul_coop", NEEDS_MATRICES),
];

/// One line for each declared kernel that was not launched and is not excused, each excused kernel that was launched, and each kernel that
/// is not declared.
fn wrong(declared: &BTreeSet<&str>, launched: &BTreeSet<&str>, excused: &BTreeSet<&str>) -> Vec<String> {
    let never = declared.iter().filter(|kernel| !launched.contains(*kernel) && !excused.contains(*kernel));
    let after_all = excused.iter().filter(|kernel| launched.contains(*kernel));
    let unknown = launched.union(excused).filter(|kernel| !declared.contains(*kernel));
    never
        .map(|kernel| format!("no check launches {kernel}"))
        .chain(after_all.map(|kernel| format!("{kernel} is an exception, but launched")))
        .chain(unknown.map(|kernel| format!("there is no kernel {kernel}")))
        .collect()
}

#[test]
fn the_checks_launch_every_kernel_but_those_with_a_reason() {
    let (mut launched, mut selectable) = (BTreeSet::new(), BTreeSet::new());
    for found in ways().iter().flat_map(|way| way.found()) {
        launched.extend(&found.report.launched);
        let profile = KernelProfile { caps: found.caps.clone(), kv: found.kv, exact: found.exact };
        selectable.extend(variants(&profile).iter().map(|variant| variant.kernel()));
    }
    // A device that can select an exception has to launch it.
    let excused: BTreeSet<&str> =
        EXCEPTIONS.iter().map(|(kernel, _)| *kernel).filter(|kernel| all_are_software() || !selectable.contains(kernel)).collect();
    assert_eq!(wrong(&kernels().collect(), &launched, &excused), [""; 0]);
}

#[test]
fn a_kernel_that_no_check_launches_is_found() {
    let wrong = |declared: &[&'static str], launched: &[&'static str], excused: &[&'static str]| {
        let set = |names: &[&'static str]| names.iter().copied().collect();
        wrong(&set(declared), &set(launched), &set(excused))
    };
    assert_eq!(wrong(&["a", "b"], &["a"], &["b"]), [""; 0]);
    assert_eq!(wrong(&["a", "b"], &["a"], &[]), ["no check launches b"]);
    assert_eq!(wrong(&["a", "b"], &["a", "b"], &["b"]), ["b is an exception, but launched"]);
    assert_eq!(wrong(&["a"], &["a"], &["b"]), ["there is no kernel b"]);
}
