//! On a GPU or a software driver: every kernel is compared with the reference, on every adapter, in every way of opening it.

use dwarfstar::gpu::{AdapterKind, Caps, Gpu, OpenOptions, Recording, adapters};
use dwarfstar::num::KvType;
use dwarfstar::verify::{Family, Report, Selection, Shapes, check, collect};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Opens every adapter in the given way.
pub fn each(options: OpenOptions, mut run: impl FnMut(&Gpu)) {
    let all = adapters();
    assert!(!all.is_empty(), "no adapter found: install a Vulkan driver, software Vulkan (lavapipe) will do");
    for adapter in all {
        run(&adapter.open(options).unwrap());
    }
}

/// What the checks found on one adapter that was opened in one way.
pub struct Found {
    name: String,
    pub caps: Caps,
    pub kv: KvType,
    pub exact: bool,
    pub report: Report,
}

/// A way of opening adapters, with the caches and the exactness that are tried in it. All tests of a way share one run of the checks.
pub struct Way {
    options: OpenOptions,
    caches: &'static [(KvType, bool)],
    found: OnceLock<Vec<Found>>,
}

impl Way {
    const fn new(options: OpenOptions, caches: &'static [(KvType, bool)]) -> Self {
        Self { options, caches, found: OnceLock::new() }
    }

    /// What the checks found on every adapter, with every cache.
    pub fn found(&self) -> &[Found] {
        self.found.get_or_init(|| {
            let mut all = Vec::new();
            each(self.options, |gpu| {
                all.extend(self.caches.iter().map(|&(kv, exact)| {
                    let name = format!("{}, {kv} cache", gpu.name());
                    let report = check(gpu, Selection { kv, exact, shapes: Shapes::Tiny, family: None }).unwrap();
                    Found { name, caps: gpu.caps().clone(), kv, exact, report }
                }));
            });
            all
        })
    }

    fn assert_passed(&self) {
        for Found { name, report: Report { outcomes, .. }, .. } in self.found() {
            let failed: Vec<String> = outcomes
                .iter()
                .filter_map(|o| {
                    let failure = o.failure.as_ref()?;
                    Some(format!("{} {}: {failure} (NMSE {:.1e}, maximum {:.1e})", o.kernel, o.case, o.nmse, o.max))
                })
                .collect();
            assert!(failed.is_empty(), "{name}: {} of {} checks failed\n{}", failed.len(), outcomes.len(), failed.join("\n"));
            assert!(outcomes.len() > 300, "{} checks", outcomes.len());
        }
    }
}

const BEST: OpenOptions = OpenOptions { portable: false, checks: false, binding_cap: None, narrow: false };
const FAST: (KvType, bool) = (KvType::F16, false);
const EXACT: (KvType, bool) = (KvType::F32, true);

/// The way that uses everything a device offers.
static WHOLE: Way = Way::new(BEST, &[FAST, EXACT]);
static CHECKED: Way = Way::new(OpenOptions { checks: true, ..BEST }, &[FAST]);
static PORTABLE: Way = Way::new(OpenOptions { portable: true, ..BEST }, &[FAST, EXACT]);
static NARROW: Way = Way::new(OpenOptions { narrow: true, ..BEST }, &[FAST]);

/// Every way that kernels are tested in.
pub fn ways() -> [&'static Way; 4] {
    [&WHOLE, &CHECKED, &PORTABLE, &NARROW]
}

/// Whether only drivers that run shaders on the CPU were found.
pub fn all_are_software() -> bool {
    adapters().iter().all(|adapter| adapter.kind == AdapterKind::Software)
}

/// Families whose cases with the shapes of V4 Flash take a CPU no longer than the tiny ones.
const LIGHT: [Family; 5] = [Family::Norm, Family::Kv, Family::Compressor, Family::Router, Family::Stream];

#[test]
fn light_kernels_equal_the_reference_at_the_shapes_of_flash() {
    each(BEST, |gpu| {
        for family in LIGHT {
            let report = check(gpu, Selection { kv: KvType::F16, exact: false, shapes: Shapes::Flash, family: Some(family) }).unwrap();
            let failed: Vec<_> = report.outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
            assert!(failed.is_empty() && !report.outcomes.is_empty(), "{}: {failed:?}", family.name());
        }
    });
}

#[test]
fn what_is_measured_is_what_is_checked() {
    each(BEST, |gpu| {
        for family in LIGHT {
            let selection = Selection { kv: KvType::F16, exact: false, shapes: Shapes::Tiny, family: Some(family) };
            let mut measured = BTreeSet::new();
            let mut take = |_: &str, recording: &Recording| {
                measured.extend(recording.dispatches().iter().map(|launch| launch.variant.kernel()));
                Ok(())
            };
            collect(gpu, selection, &mut take).unwrap();
            assert_eq!(measured, check(gpu, selection).unwrap().launched, "{}", family.name());
        }
    });
}

#[test]
fn kernels_equal_the_reference() {
    WHOLE.assert_passed();
}

#[test]
fn kernels_equal_the_reference_with_shader_checks() {
    CHECKED.assert_passed();
}

#[test]
fn portable_kernels_equal_the_reference() {
    PORTABLE.assert_passed();
}

#[test]
fn kernels_do_not_depend_on_the_real_size_of_subgroups() {
    NARROW.assert_passed();
}
