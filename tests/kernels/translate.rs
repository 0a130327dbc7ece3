//! Without a GPU: every variant that a device can select assembles, validates and translates to that device's shader language, and the
//! host's parameter blocks are laid out as the shaders declare them.

use super::sizes::workgroup_bytes;
use dwarfstar::gpu::{Caps, Cooperative, Variant, assemble, kernels};
use dwarfstar::kernels::{self, KernelProfile, variants};
use dwarfstar::num::KvType;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

/// A kind of device: its caps and the languages its drivers may want.
#[derive(Clone)]
pub struct Device {
    name: &'static str,
    pub caps: Caps,
    languages: &'static [Language],
}

#[derive(Clone, Copy, PartialEq)]
pub enum Language {
    Spirv,
    Msl,
    Hlsl,
}

/// Every kind of device that variants are chosen for.
pub fn devices() -> Vec<Device> {
    use Language::{Hlsl, Msl, Spirv};
    let full = Caps {
        subgroup: Some(32),
        dot_int8: true,
        f16: true,
        immediates: true,
        invocations: 1024,
        workgroup_bytes: 48 << 10,
        ..Caps::portable()
    };
    vec![
        Device { name: "portable", caps: Caps::portable(), languages: &[Spirv, Msl, Hlsl] },
        Device { name: "subgroups", caps: full.clone(), languages: &[Spirv, Msl, Hlsl] },
        Device { name: "subgroups of 8", caps: Caps { subgroup: Some(8), ..full.clone() }, languages: &[Spirv] },
        Device { name: "subgroups of 64", caps: Caps { subgroup: Some(64), ..full.clone() }, languages: &[Spirv, Hlsl] },
        Device {
            name: "cooperative 8",
            caps: Caps { dot_int8: false, cooperative: Cooperative::Size8, workgroup_bytes: 32 << 10, ..full.clone() },
            languages: &[Spirv, Msl],
        },
        Device {
            name: "int8, small workgroups",
            caps: Caps { invocations: 256, workgroup_bytes: 32 << 10, ..full.clone() },
            languages: &[Spirv, Hlsl],
        },
        Device { name: "cooperative 16", caps: Caps { cooperative: Cooperative::Size16, ..full.clone() }, languages: &[Spirv] },
        Device {
            name: "cooperative 16, little workgroup memory",
            caps: Caps { cooperative: Cooperative::Size16, workgroup_bytes: 32 << 10, ..full },
            languages: &[Spirv],
        },
    ]
}

pub fn parse(label: &str, text: &str) -> naga::Module {
    naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{label}: {}\n{}", e.emit_to_string(text), numbered(text)))
}

fn validate(label: &str, module: &naga::Module, text: &str) -> ModuleInfo {
    let capabilities = Capabilities::IMMEDIATES
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(module)
        .unwrap_or_else(|e| panic!("{label}: {}\n{}", e.emit_to_string(text), numbered(text)))
}

fn numbered(text: &str) -> String {
    text.lines().enumerate().map(|(i, line)| format!("{:4} {line}\n", i + 1)).collect()
}

fn to_spirv(label: &str, module: &naga::Module, info: &ModuleInfo) {
    let words = spv::write_vec(module, info, &spv::Options { lang_version: (1, 4), ..Default::default() }, None);
    assert!(words.unwrap_or_else(|e| panic!("{label} to SPIR-V: {e}")).len() > 5);
}

fn to_msl(label: &str, module: &naga::Module, info: &ModuleInfo) {
    let mut resources = msl::BindingMap::default();
    let mut slot = 0;
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            resources.insert(binding, msl::BindTarget { buffer: Some(slot), mutable: true, ..Default::default() });
            slot += 1;
        }
    }
    let entry = module.entry_points[0].name.clone();
    let entry_resources = msl::EntryPointResources { resources, immediates_buffer: Some(29), sizes_buffer: Some(30) };
    let options = msl::Options {
        lang_version: (3, 1),
        per_entry_point_map: BTreeMap::from([(entry, entry_resources)]),
        fake_missing_bindings: false,
        ..Default::default()
    };
    let (text, _) =
        msl::write_string(module, info, &options, &msl::PipelineOptions::default()).unwrap_or_else(|e| panic!("{label} to MSL: {e}"));
    assert!(text.contains("kernel void"), "{label}: no kernel in the MSL");
}

fn to_hlsl(label: &str, module: &naga::Module, info: &ModuleInfo) {
    let mut binding_map = hlsl::BindingMap::default();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            binding_map.insert(binding, hlsl::BindTarget { space: binding.group as u8, register: binding.binding, ..Default::default() });
        }
    }
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_2,
        binding_map,
        fake_missing_bindings: false,
        immediates_target: Some(hlsl::BindTarget { space: 2, register: 0, ..Default::default() }),
        special_constants_binding: Some(hlsl::BindTarget { space: 3, register: 0, ..Default::default() }),
        ..Default::default()
    };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions::default();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).unwrap_or_else(|e| panic!("{label} to HLSL: {e}"));
    assert!(text.contains("numthreads"), "{label}: no entry point in the HLSL");
}

/// The result of translating a variant.
struct Translated {
    label: String,
    kernel: &'static str,
    /// The devices that can select it.
    devices: Vec<Device>,
    languages: Vec<Language>,
    workgroup_bytes: u32,
    invocations: u32,
    bindings: usize,
    /// Names and offsets of the members of its parameters, and their size.
    params: (Vec<(String, usize)>, usize),
}

impl Translated {
    /// `variant` with its parameters in `immediates` or not, in every language of `devices`.
    fn new(variant: &Variant, immediates: bool, devices: Vec<Device>) -> Self {
        let label = format!("{variant} ({})", devices[0].name);
        let text = assemble(variant, immediates).unwrap();
        let module = parse(&label, &text);
        let info = validate(&label, &module, &text);
        let languages = [Language::Spirv, Language::Msl, Language::Hlsl].into_iter();
        let languages: Vec<_> = languages.filter(|language| devices.iter().any(|device| device.languages.contains(language))).collect();
        for language in &languages {
            match language {
                Language::Spirv => to_spirv(&label, &module, &info),
                Language::Msl => to_msl(&label, &module, &info),
                Language::Hlsl => to_hlsl(&label, &module, &info),
            }
        }
        let (members, span) = params(variant.kernel(), &module);
        Self {
            label,
            kernel: variant.kernel(),
            devices,
            languages,
            workgroup_bytes: workgroup_bytes(&module),
            invocations: module.entry_points[0].workgroup_size.iter().product(),
            bindings: module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count(),
            params: (members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect(), span as usize),
        }
    }
}

/// Every variant of every device. Devices share many variants, so each is translated once, and once for all tests.
fn translated() -> &'static [Translated] {
    static ALL: OnceLock<Vec<Translated>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut selected: HashMap<(Variant, bool), Vec<Device>> = HashMap::new();
        for device in devices() {
            let dialects = [KvType::F16, KvType::F32].map(|kv| KernelProfile { caps: device.caps.clone(), kv, exact: false });
            for variant in dialects.iter().flat_map(variants) {
                selected.entry((variant, device.caps.immediates)).or_default().push(device.clone());
            }
        }
        selected.into_par_iter().map(|((variant, immediates), devices)| Translated::new(&variant, immediates, devices)).collect()
    })
}

#[test]
fn every_variant_translates_to_the_languages_of_its_devices() {
    let all: BTreeSet<&str> = kernels().collect();
    let seen: BTreeSet<&str> = translated().iter().map(|one| one.kernel).collect();
    assert_eq!(seen, all, "kernels without a variant, or variants without a kernel");
    println!("{} translations", translated().iter().map(|one| one.languages.len()).sum::<usize>());
}

#[test]
fn workgroup_memory_and_invocations_stay_within_the_device() {
    for Translated { label, devices, workgroup_bytes, invocations, bindings, .. } in translated() {
        for Device { name, caps, .. } in devices {
            assert!(*workgroup_bytes <= caps.workgroup_bytes, "{label} on {name}: {workgroup_bytes} bytes of workgroup memory");
            assert!(*invocations <= caps.invocations, "{label} on {name}: {invocations} invocations");
            assert!(*bindings <= caps.storage_bindings as usize, "{label} on {name}: {bindings} bindings");
        }
    }
}

/// The members of the kernel's `struct Params` and its size, which is as many bytes as the host writes.
pub fn params<'m>(kernel: &str, module: &'m naga::Module) -> (&'m [naga::StructMember], u32) {
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
    let (_, params) = found.unwrap_or_else(|| panic!("{kernel} has no Params"));
    let naga::TypeInner::Struct { members, span } = &params.inner else { panic!("{kernel}: Params is no struct") };
    (members, *span)
}

#[test]
fn parameter_blocks_are_laid_out_as_the_shaders_declare_them() {
    for Translated { label, kernel, params: (shader, span), .. } in translated() {
        let declared = kernels::all().find(|k| k.names.contains(kernel)).unwrap_or_else(|| panic!("{label} is not declared"));
        let host: Vec<_> = declared.fields.iter().map(|(name, offset)| ((*name).to_string(), *offset)).collect();
        assert_eq!(shader, &host, "{label}");
        assert_eq!(*span, declared.bytes, "{label}");
        assert!(declared.bytes <= 128, "{label}: {} bytes of parameters", declared.bytes);
    }
}

#[test]
fn a_declaration_lists_variants_of_its_kernels_and_of_no_other() {
    let devices = devices();
    for kernel in kernels::all() {
        let listed = devices
            .iter()
            .flat_map(|device| (kernel.variants)(&KernelProfile { caps: device.caps.clone(), kv: KvType::F16, exact: false }));
        let listed: BTreeSet<&str> = listed.map(|variant| variant.kernel()).collect();
        assert_eq!(listed, kernel.names.iter().copied().collect());
    }
}
