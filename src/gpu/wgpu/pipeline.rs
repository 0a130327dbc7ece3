//! Compiled kernels, made on first use and kept.

use super::device::Device;
use super::disk_cache::DiskCache;
use crate::gpu::shader::assemble;
use crate::gpu::variant::Variant;
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled kernel.
pub struct Pipeline {
    /// The pipeline.
    pub raw: wgpu::ComputePipeline,
    /// The layout of its bindings.
    pub layout: wgpu::BindGroupLayout,
    /// Whether the kernel may write to each binding.
    pub writes: Vec<bool>,
    /// Size of its parameters in bytes.
    pub params_bytes: usize,
    /// Its number among all that were compiled.
    pub id: usize,
}

/// Compiles kernels for a device.
pub struct Compiler {
    device: Arc<Device>,
    disk: Option<DiskCache>,
    /// The layout of the bind group of parameters, on a device without immediates.
    pub params_layout: Option<wgpu::BindGroupLayout>,
}

/// The kernels that were compiled so far.
#[derive(Default)]
pub struct Pipelines(HashMap<Variant, Arc<Pipeline>>);

impl Pipelines {
    /// The number of compiled kernels.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The pipeline of `variant`, compiled if it is new.
    ///
    /// # Errors
    /// The shader does not compile.
    pub fn get(&mut self, compiler: &Compiler, variant: &Variant) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = self.0.get(variant) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(compiler.compile(variant, self.0.len())?);
        self.0.insert(variant.clone(), pipeline.clone());
        Ok(pipeline)
    }
}

impl Compiler {
    /// Makes the compiler of `device`, which keeps compiled kernels in `disk`.
    pub fn new(device: Arc<Device>, disk: Option<DiskCache>) -> Self {
        let params_layout = (!device.caps.immediates).then(|| {
            device.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("params"),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: None,
                    },
                    count: None,
                }],
            })
        });
        Self { device, disk, params_layout }
    }

    fn compile(&self, variant: &Variant, id: usize) -> Result<Pipeline> {
        let caps = &self.device.caps;
        let text = assemble(variant, caps.immediates)?;
        let label = variant.to_string();
        let module =
            naga::front::wgsl::parse_str(&text).map_err(|e| Error::Device(format!("shader {label}: {}", e.emit_to_string(&text))))?;
        let entries = reflect(&module);
        if entries.len() > caps.storage_bindings as usize {
            return Err(Error::Device(format!("{label} has {} bindings, this device allows {}", entries.len(), caps.storage_bindings)));
        }
        let params_bytes = params_bytes(&module);
        self.device.guarded(&label, || {
            let device = &self.device.raw;
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let groups = [Some(&layout), self.params_layout.as_ref()];
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &groups[..if caps.immediates { 1 } else { 2 }],
                immediate_size: if caps.immediates { params_bytes } else { 0 },
            });
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Naga(Cow::Owned(module)) };
            let module = if self.device.checks {
                device.create_shader_module(descriptor)
            } else {
                // SAFETY: without checks a shader must not index out of bounds, loop for ever or divide by zero. The kernel tests run
                // every variant with the checks on and guard bands around its outputs; indices that come from files or users are
                // range-checked on the host before they reach a buffer.
                unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
            };
            let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(variant.kernel()),
                compilation_options: wgpu::PipelineCompilationOptions { zero_initialize_workgroup_memory: false, ..Default::default() },
                cache: self.disk.as_ref().map(DiskCache::raw),
            });
            let writes = entries.iter().map(may_be_written).collect();
            Pipeline { raw, layout, writes, params_bytes: params_bytes as usize, id }
        })
    }
}

/// The storage bindings of group 0 in order, as the shader declares them.
fn reflect(module: &naga::Module) -> Vec<wgpu::BindGroupLayoutEntry> {
    let mut entries: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let binding = variable.binding.filter(|b| b.group == 0)?;
            let naga::AddressSpace::Storage { access } = variable.space else { return None };
            Some(wgpu::BindGroupLayoutEntry {
                binding: binding.binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: !access.contains(naga::StorageAccess::STORE) },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
        })
        .collect();
    entries.sort_by_key(|e| e.binding);
    entries
}

fn may_be_written(entry: &wgpu::BindGroupLayoutEntry) -> bool {
    matches!(entry.ty, wgpu::BindingType::Buffer { ty: wgpu::BufferBindingType::Storage { read_only: false }, .. })
}

/// The size in bytes of the shader's `Params`, 0 if it has none.
fn params_bytes(module: &naga::Module) -> u32 {
    let holds_params = |space| matches!(space, naga::AddressSpace::Immediate | naga::AddressSpace::Uniform);
    let params = module.global_variables.iter().find(|(_, v)| holds_params(v.space));
    params.map_or(0, |(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
}
