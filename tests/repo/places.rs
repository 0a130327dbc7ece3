//! Only one place may read the environment, and only one may name types of wgpu.

use super::modules::{Modules, Target};
use super::{Breach, File, assert_none, planted, read};

/// The parts of `std::env` that read or change the environment.
const ENVIRONMENT: &[&str] = &["var", "var_os", "vars", "vars_os", "set_var", "remove_var", "temp_dir", "home_dir", "Vars", "VarsOs", "*"];

/// Paths of other crates that files outside `place` name and that are forbidden there.
fn named_outside(files: &[File], place: &str, what: &str, is_forbidden: impl Fn(&[&str]) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for named in Modules::read(files).named().into_iter().filter(|named| !named.file.starts_with(place)) {
        let Target::Outside(path) = named.target else { continue };
        if is_forbidden(&path.iter().map(String::as_str).collect::<Vec<_>>()) {
            breaches.push(Breach::new(named.file, named.line, format!("{} {what}", path.join("::"))));
        }
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

/// Names the build script's folder to the compiler: no read of the environment in which the program runs.
const LISTS_SHADERS: &str = "src/gpu/sources.rs";

fn reads_of_the_environment(files: &[File]) -> Vec<Breach> {
    let mut breaches = named_outside(files, "src/debug.rs", "reads the environment, which is for src/debug.rs", |path| match path {
        ["env!" | "option_env!"] | ["std" | "core", "env!" | "option_env!"] => true,
        ["std", "env", name, ..] => ENVIRONMENT.contains(name),
        _ => false,
    });
    breaches.retain(|breach| breach.path != LISTS_SHADERS || !breach.what.starts_with("env! "));
    breaches
}

fn gpu_types(files: &[File]) -> Vec<Breach> {
    named_outside(files, "src/gpu/wgpu/", "is for src/gpu/wgpu", |path| path.first().is_some_and(|name| *name == "wgpu"))
}

#[test]
fn the_environment_is_read_in_one_place() {
    let files = read("src", "rs");
    assert_none(&reads_of_the_environment(&files));
    // The rule sees the reads that there are.
    let elsewhere: Vec<File> = files.into_iter().map(|f| File { path: f.path.replace("src/debug.rs", "src/moved.rs"), ..f }).collect();
    assert!(reads_of_the_environment(&elsewhere).iter().any(|breach| breach.what.starts_with("std::env::var ")));
}

#[test]
fn a_read_of_the_environment_elsewhere_is_found() {
    let root = ("src/lib.rs", "pub mod debug;\npub mod cli;\n");
    let place = ("src/debug.rs", "pub fn home() -> bool {\n    std::env::var(\"HOME\").is_ok()\n}\n");
    let breach = "use std::{\n    env as surroundings,\n    path::Path,\n};\n\npub fn home() {\n    surroundings::args();\n    surroundings::var_os(\"HOME\");\n}\n";
    let found = reads_of_the_environment(&planted(&[root, place, ("src/cli/mod.rs", breach)]));
    assert_eq!(found, [Breach::new("src/cli/mod.rs", 8, "std::env::var_os reads the environment, which is for src/debug.rs")]);

    let breach = "pub const VERSION: &str = concat!(\n    \"v\",\n    env!(\"CARGO_PKG_VERSION\"),\n);\n#[cfg(test)]\nmod tests {\n    const X: &str = env!(\"X\");\n}\n";
    let found = reads_of_the_environment(&planted(&[root, place, ("src/cli/mod.rs", breach)]));
    assert_eq!(found, [Breach::new("src/cli/mod.rs", 3, "env! reads the environment, which is for src/debug.rs")]);

    let breach = "use std::env::*;\n";
    let found = reads_of_the_environment(&planted(&[root, place, ("src/cli/mod.rs", breach)]));
    assert_eq!(found, [Breach::new("src/cli/mod.rs", 1, "std::env::* reads the environment, which is for src/debug.rs")]);
}

#[test]
fn gpu_types_stay_in_their_folder() {
    assert_none(&gpu_types(&read("src", "rs")));
}

#[test]
fn a_gpu_type_elsewhere_is_found() {
    // The folder has the crate's name, so that its neighbours may name the folder, but not the crate.
    let gpu = "mod wgpu;\nmod buffer;\npub use buffer::Buffer;\n";
    let folder = ("src/gpu/wgpu/mod.rs", "pub use wgpu::Buffer as RawBuffer;\npub struct Slice(wgpu::Buffer);\n");
    let buffer = "use super::wgpu as webgpu;\n\npub struct Buffer(webgpu::Slice);\n";
    let tree = |gpu: &str, buffer: &str, engine: &str| {
        let root = ("src/lib.rs", "pub mod gpu;\npub mod engine;\n");
        planted(&[root, folder, ("src/gpu/mod.rs", gpu), ("src/gpu/buffer.rs", buffer), ("src/engine/mod.rs", engine)])
    };
    let engine = "//! Speaks of `wgpu::Device`.\nuse crate::gpu::Buffer;\n\npub fn first(buffers: &[Buffer]) {}\n";
    assert_eq!(gpu_types(&tree(gpu, buffer, engine)), []);

    let breach = "use crate::gpu::Buffer;\n\npub fn device(buffer: Buffer) -> Option<::wgpu::Device> {\n    None\n}\n";
    assert_eq!(gpu_types(&tree(gpu, buffer, breach)), [Breach::new("src/engine/mod.rs", 3, "wgpu::Device is for src/gpu/wgpu")]);
    let breach = "extern crate wgpu as raw;\n";
    assert_eq!(gpu_types(&tree(gpu, buffer, breach)), [Breach::new("src/engine/mod.rs", 1, "wgpu is for src/gpu/wgpu")]);
    // Beside the folder, where the bare name is the crate's.
    let breach = "use super::wgpu as webgpu;\n\npub struct Buffer(webgpu::Slice, wgpu::Buffer);\n";
    assert_eq!(gpu_types(&tree(gpu, breach, engine)), [Breach::new("src/gpu/buffer.rs", 3, "wgpu::Buffer is for src/gpu/wgpu")]);
    // By a name that the folder hands on.
    let breach = "use super::wgpu::RawBuffer as Buffer;\n";
    let found = gpu_types(&tree("mod wgpu;\nmod buffer;\n", breach, ""));
    assert_eq!(found, [Breach::new("src/gpu/buffer.rs", 1, "wgpu::Buffer is for src/gpu/wgpu")]);
}
