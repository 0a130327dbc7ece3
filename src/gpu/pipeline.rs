//! Compiled kernels and their bind groups, made on first use and kept.

use super::buffer::Slice;
use super::disk_cache::DiskCache;
use super::shader::{Variant, assemble};
use super::{Dispatch, Gpu, Recording};
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A compiled kernel.
pub(super) struct Pipeline {
    pub raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    /// Of each binding, whether the kernel may write to it.
    writes: Vec<bool>,
    /// Distinguishes pipelines as keys of the bind group cache.
    id: usize,
}

/// What was compiled and bound so far on a device.
#[derive(Default)]
pub(super) struct Cache {
    pipelines: HashMap<Variant, Arc<Pipeline>>,
    groups: HashMap<GroupKey, Group>,
    /// How many buffers had been freed when the bind groups were last swept.
    swept_at: u64,
}

/// Pipeline and, for each binding, buffer, offset and length.
type GroupKey = (usize, Vec<(u64, u64, u64)>);

struct Group {
    raw: wgpu::BindGroup,
    buffers_live: Vec<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Gpu {
    /// How many kernels were compiled so far.
    pub fn compiled(&self) -> usize {
        self.cache().pipelines.len()
    }

    /// The pipeline of `variant`, compiled if it is new.
    pub(super) fn pipeline(&self, cache: &mut Cache, variant: &Variant) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = cache.pipelines.get(variant) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(variant, cache.pipelines.len())?);
        cache.pipelines.insert(variant.clone(), pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, variant: &Variant, id: usize) -> Result<Pipeline> {
        let caps = self.caps();
        let text = assemble(variant, caps.immediates)?;
        let label = variant.to_string();
        let module =
            naga::front::wgsl::parse_str(&text).map_err(|e| Error::Device(format!("shader {label}: {}", e.emit_to_string(&text))))?;
        let entries = reflect(&module);
        if entries.len() > caps.storage_bindings as usize {
            return Err(Error::Device(format!("{label} has {} bindings, this device allows {}", entries.len(), caps.storage_bindings)));
        }
        self.guarded(&label, || {
            let device = self.device();
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let groups = [Some(&layout), self.params_layout()];
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &groups[..if caps.immediates { 1 } else { 2 }],
                immediate_size: if caps.immediates { params_bytes(&module) } else { 0 },
            });
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Naga(Cow::Owned(module)) };
            let module = if self.checked() {
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
                cache: self.disk().map(DiskCache::raw),
            });
            Pipeline { raw, layout, writes: entries.iter().map(may_be_written).collect(), id }
        })
    }

    /// Of each binding of `variant`, in order, whether the kernel may write to it.
    ///
    /// # Errors
    /// A shader that does not compile.
    pub fn writes(&self, variant: &Variant) -> Result<Vec<bool>> {
        Ok(self.pipeline(&mut self.cache(), variant)?.writes.clone())
    }

    /// How many launches of `recording` wait for all before them; others may run beside the one before. In one pass a launch waits if a
    /// buffer that it uses was used by one before and either may write to it, whichever parts of it they bind.
    ///
    /// # Errors
    /// A shader that does not compile.
    pub fn in_turn(&self, recording: &Recording) -> Result<usize> {
        let mut cache = self.cache();
        let (mut used, mut waiting) = (HashMap::new(), 0);
        for dispatch in recording.dispatches() {
            let pipeline = self.pipeline(&mut cache, &dispatch.variant)?;
            let mut own: HashMap<u64, bool> = HashMap::new();
            for (slice, writes) in dispatch.bindings.iter().zip(&pipeline.writes) {
                *own.entry(slice.buffer.id()).or_default() |= writes;
            }
            waiting += usize::from(own.iter().any(|(buffer, writes)| used.get(buffer).is_some_and(|wrote| wrote | writes)));
            used.extend(own);
        }
        Ok(waiting)
    }

    /// The bind group of `dispatch` for `pipeline`, made if it is new.
    pub(super) fn bind_group<'c>(&self, cache: &'c mut Cache, pipeline: &Pipeline, dispatch: &Dispatch) -> Result<&'c wgpu::BindGroup> {
        let bindings = &dispatch.bindings;
        if bindings.len() != pipeline.writes.len() {
            let (label, want, have) = (&dispatch.variant, pipeline.writes.len(), bindings.len());
            return Err(Error::Device(format!("{label} declares {want} bindings, {have} were given")));
        }
        let key = (pipeline.id, bindings.iter().map(|s| (s.buffer.id(), s.offset, s.bytes)).collect());
        if !cache.groups.contains_key(&key) {
            let group = self.make_group(pipeline, dispatch)?;
            cache.groups.insert(key.clone(), group);
        }
        Ok(&cache.groups[&key].raw)
    }

    fn make_group(&self, pipeline: &Pipeline, dispatch: &Dispatch) -> Result<Group> {
        let limit = self.caps().max_binding_bytes;
        if let Some(slice) = dispatch.bindings.iter().find(|s| s.bytes > limit) {
            let (label, bytes) = (&dispatch.variant, slice.bytes);
            return Err(Error::Device(format!("{label} binds {bytes} bytes, this device's limit is {limit}")));
        }
        let entries: Vec<_> = dispatch.bindings.iter().enumerate().map(|(i, slice)| entry(i as u32, slice)).collect();
        let label = dispatch.variant.to_string();
        let descriptor = wgpu::BindGroupDescriptor { label: Some(&label), layout: &pipeline.layout, entries: &entries };
        let raw = self.guarded(&label, || self.device().create_bind_group(&descriptor))?;
        let buffers_live = dispatch.bindings.iter().map(|s| Box::new(s.buffer.observe()) as Box<dyn Fn() -> bool + Send + Sync>).collect();
        Ok(Group { raw, buffers_live })
    }

    /// Drops bind groups of freed buffers: they would keep the memory alive.
    pub(super) fn sweep(&self, cache: &mut Cache) {
        let freed = self.account().freed.load(Ordering::Relaxed);
        if freed != cache.swept_at {
            cache.groups.retain(|_, group| group.buffers_live.iter().all(|live| live()));
            cache.swept_at = freed;
        }
    }
}

fn entry(binding: u32, slice: &Slice) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: slice.buffer.raw(),
            offset: slice.offset,
            size: std::num::NonZeroU64::new(slice.bytes.next_multiple_of(4)),
        }),
    }
}

/// The storage bindings of group 0, in order, read off the shader so that they are not typed twice.
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

/// The size of the kernel's `Params`, 0 if it has none.
fn params_bytes(module: &naga::Module) -> u32 {
    let immediate = module.global_variables.iter().find(|(_, v)| v.space == naga::AddressSpace::Immediate);
    immediate.map_or(0, |(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
}
