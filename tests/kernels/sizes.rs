//! Without a GPU: a kernel's header states the sizes of `struct Params` and of workgroup memory that its variants have.

use super::names::{Shader, shaders};
use super::translate::{devices, params, parse};
use dwarfstar::gpu::{assemble, kernels};
use dwarfstar::kernels::{KernelProfile, variants};
use dwarfstar::num::KvType;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with the line `params  Params N B` of a kernel's header. N is the size of the struct, which is what the host writes;
/// that a uniform buffer of it may be padded to a multiple of 16 is not counted.
fn wrong_size(shader: &Shader, bytes: u32) -> Option<String> {
    let header = shader.text.lines().enumerate().take_while(|(_, line)| line.starts_with("//"));
    let (i, line) = header.into_iter().find(|(_, line)| line.starts_with("// params ")).unwrap_or((0, "no line"));
    let wanted = format!("// params  Params {bytes} B");
    let is_right = line.strip_prefix(&wanted[..]).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
    (!is_right).then(|| format!("shaders/{}.wgsl:{}: expected `{wanted}`, found `{line}`", shader.path, i + 1))
}

/// The KiB of workgroup memory that a kernel's header states.
fn stated_kib(shader: &Shader) -> Option<u32> {
    let header: Vec<&str> = shader.text.lines().take_while(|line| line.starts_with("//")).collect();
    let before = header.iter().find_map(|line| line.split_once(" KiB workgroup memory"))?.0;
    before.rsplit(' ').next()?.parse().ok()
}

/// Size of the workgroup memory of `module` in bytes.
pub fn workgroup_bytes(module: &naga::Module) -> u32 {
    let own = module.global_variables.iter().filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup);
    own.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum()
}

#[test]
fn headers_state_the_most_workgroup_memory() {
    let stated: BTreeMap<String, u32> = shaders().iter().filter_map(|shader| Some((shader.path.clone(), stated_kib(shader)?))).collect();
    let mut most: BTreeMap<String, u32> = stated.keys().map(|path| (path.clone(), 0)).collect();
    for device in devices() {
        for kv in [KvType::F16, KvType::F32] {
            for variant in variants(&KernelProfile { caps: device.caps.clone(), kv, exact: false }) {
                if let Some(most) = most.get_mut(&format!("{}/{}", variant.folder(), variant.kernel())) {
                    let module = parse(variant.kernel(), &assemble(&variant, device.caps.immediates).unwrap());
                    *most = (*most).max(workgroup_bytes(&module).div_ceil(1024));
                }
            }
        }
    }
    assert!(stated.len() > 5, "{stated:?}");
    assert_eq!(stated, most, "KiB of workgroup memory, stated and taken at most");
}

#[test]
fn what_a_header_states_of_workgroup_memory_is_read() {
    let shader = |header: &str| Shader {
        path: "a/double".to_string(),
        text: format!("// double: y = 2 x.\n{header}\nlet x = 1;\n// 2 KiB workgroup memory\n"),
    };
    assert_eq!(stated_kib(&shader("// needs   f16, 26 KiB workgroup memory; DIM at most 128")), Some(26));
    assert_eq!(stated_kib(&shader("// needs   nothing")), None);
}

#[test]
fn headers_state_the_size_of_the_parameters() {
    let shaders: BTreeMap<String, Shader> = shaders().into_iter().map(|shader| (shader.path.clone(), shader)).collect();
    let (mut checked, mut wrong) = (BTreeSet::new(), Vec::new());
    for device in devices() {
        for variant in variants(&KernelProfile { caps: device.caps.clone(), kv: KvType::F16, exact: false }) {
            let kernel = variant.kernel();
            if checked.insert(kernel) {
                let module = parse(kernel, &assemble(&variant, device.caps.immediates).unwrap());
                wrong.extend(wrong_size(&shaders[&format!("{}/{kernel}", variant.folder())], params(kernel, &module).1));
            }
        }
    }
    assert_eq!(checked, kernels().collect::<BTreeSet<_>>());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_size_of_parameters_is_found() {
    let shader = |line: &str| Shader { path: "a/double".to_string(), text: format!("// double: y = 2 x.\n{line}\nstruct Params {{}}\n") };
    assert_eq!(wrong_size(&shader("// params  Params 16 B"), 16), None);
    assert_eq!(wrong_size(&shader("// params  Params 16 B (lib/a); and more"), 16), None);
    let found = |line: &str| Some(format!("shaders/a/double.wgsl:2: expected `// params  Params 16 B`, found `{line}`"));
    for line in ["// params  Params 32 B", "// params  Params 16 Bytes", "// params  Params 116 B", "// params  nothing"] {
        assert_eq!(wrong_size(&shader(line), 16), found(line));
    }
    let lost = "shaders/a/double.wgsl:1: expected `// params  Params 16 B`, found `no line`";
    assert_eq!(wrong_size(&shader("// grid    x: T"), 16), Some(lost.to_string()));
}
