//! Without a GPU: the size of parameters that a kernel's header states is the size of its `struct Params`.

use super::names::{Shader, shaders};
use super::translate::{devices, params, parse};
use dwarfstar::gpu::{assemble, kernels};
use dwarfstar::kernels::{Dialect, variants};
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

#[test]
fn headers_state_the_size_of_the_parameters() {
    let shaders: BTreeMap<String, Shader> = shaders().into_iter().map(|shader| (shader.path.clone(), shader)).collect();
    let (mut checked, mut wrong) = (BTreeSet::new(), Vec::new());
    for device in devices() {
        for variant in variants(&Dialect { caps: device.caps.clone(), kv: KvType::F16, exact: false }) {
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
