//! With a GPU, or its software stand-in: every kernel against the reference, on every adapter found.

use dwarfstar::cli::verify::{Outcome, check};
use dwarfstar::gpu::{Gpu, OpenOptions, adapters};
use dwarfstar::num::KvType;

/// Opens every adapter in the given way.
pub fn each(options: OpenOptions, mut run: impl FnMut(&Gpu)) {
    let all = adapters();
    assert!(!all.is_empty(), "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
    for adapter in all {
        run(&adapter.open(options).unwrap());
    }
}

fn assert_passed(gpu: &Gpu, outcomes: &[Outcome]) {
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|o| {
            let failure = o.failure.as_ref()?;
            Some(format!("{} {}: {failure} (NMSE {:.1e}, maximum {:.1e})", o.kernel, o.case, o.nmse, o.max))
        })
        .collect();
    assert!(failed.is_empty(), "{}: {} of {} checks failed\n{}", gpu.name(), failed.len(), outcomes.len(), failed.join("\n"));
    assert!(outcomes.len() > 300, "{} checks", outcomes.len());
}

#[test]
fn kernels_equal_the_reference() {
    each(OpenOptions::default(), |gpu| {
        assert_passed(gpu, &check(gpu, KvType::F16, false).unwrap());
        assert_passed(gpu, &check(gpu, KvType::F32, true).unwrap());
    });
}

#[test]
fn kernels_equal_the_reference_with_shader_checks() {
    each(OpenOptions { checks: true, ..Default::default() }, |gpu| assert_passed(gpu, &check(gpu, KvType::F16, false).unwrap()));
}

#[test]
fn portable_kernels_equal_the_reference() {
    each(OpenOptions { portable: true, ..Default::default() }, |gpu| {
        assert_passed(gpu, &check(gpu, KvType::F16, false).unwrap());
        assert_passed(gpu, &check(gpu, KvType::F32, true).unwrap());
    });
}

#[test]
fn kernels_do_not_depend_on_the_real_size_of_subgroups() {
    each(OpenOptions { narrow: true, ..Default::default() }, |gpu| assert_passed(gpu, &check(gpu, KvType::F16, false).unwrap()));
}
