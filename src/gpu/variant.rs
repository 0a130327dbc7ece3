//! One way to compile a kernel.

use super::sources::{kernel_path, kernel_source, known_name, stem};
use crate::{Error, Result};
use std::borrow::Cow;
use std::fmt;

/// One way to compile a kernel: the kernel's name, flags that switch lines of its shader on, and constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    kernel: &'static str,
    /// The text of a kernel that is not built in.
    text: Option<&'static str>,
    flags: Vec<&'static str>,
    constants: Vec<(&'static str, u32)>,
}

impl Variant {
    /// The plain variant of `kernel`, which is the name of a shader file without its folder.
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, text: None, flags: Vec::new(), constants: Vec::new() }
    }

    /// The plain variant of a kernel that is not built in. `kernel` is its name and entry point, `text` its WGSL, which may have directives
    /// of the shader assembler. A saved recording with such a kernel cannot be loaded, because the text is not saved.
    ///
    /// # Errors
    /// A built-in kernel has this name.
    pub fn of_text(kernel: &'static str, text: &'static str) -> Result<Self> {
        match kernel_path(kernel) {
            None => Ok(Self { text: Some(text), ..Self::new(kernel) }),
            Some(path) => Err(Error::Text(format!("a kernel of your own needs a name of its own: {kernel:?} is built in ({path})"))),
        }
    }

    /// Path and text of the kernel, before the assembler.
    ///
    /// # Errors
    /// There is no such kernel, or its file cannot be read.
    pub(super) fn source(&self) -> Result<(&'static str, Cow<'static, str>)> {
        self.text.map_or_else(|| kernel_source(self.kernel), |text| Ok((self.kernel, Cow::Borrowed(text))))
    }

    /// Makes a variant out of names that were read from a file. The built-in shaders must use all of them.
    ///
    /// # Errors
    /// A name is unknown or stands twice.
    pub(super) fn known(kernel: &str, flags: &[String], constants: &[(String, u32)]) -> Result<Self> {
        let path = kernel_path(kernel).ok_or_else(|| Error::Text(format!("there is no kernel {kernel:?}")))?;
        let known = |name: &str| known_name(name).ok_or_else(|| Error::Text(format!("{kernel}: no shader knows the name {name:?}")));
        if let Some((_, (name, _))) = constants.iter().enumerate().find(|(i, (name, _))| constants[..*i].iter().any(|(n, _)| n == name)) {
            return Err(Error::Text(format!("{kernel}: the constant {name} is there twice")));
        }
        Ok(Self {
            kernel: stem(path),
            text: None,
            flags: flags.iter().map(|flag| known(flag)).collect::<Result<_>>()?,
            constants: constants.iter().map(|(name, value)| Ok((known(name)?, *value))).collect::<Result<_>>()?,
        })
    }

    /// Adds `flag` if `on`.
    #[must_use]
    pub fn flag_if(mut self, on: bool, flag: &'static str) -> Self {
        if on && !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
        self
    }

    /// Adds `flag`.
    #[must_use]
    pub fn flag(self, flag: &'static str) -> Self {
        self.flag_if(true, flag)
    }

    /// Adds the constant `name` with this value.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, value));
        self
    }

    /// The kernel's name.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The shader folder that the kernel's file is in, without `shaders/`; empty for a kernel that does not exist.
    pub fn folder(&self) -> &'static str {
        kernel_path(self.kernel).and_then(|path| path.split_once('/')).map_or("", |(folder, _)| folder)
    }

    /// The flags that are on.
    pub fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    /// The constants: name and value.
    pub fn constants(&self) -> &[(&'static str, u32)] {
        &self.constants
    }

    /// Whether it has a flag or constant `name`.
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains(&name) || self.value(name).is_some()
    }

    /// The value of constant `name`.
    pub fn value(&self, name: &str) -> Option<u32> {
        self.constants.iter().find(|(n, _)| *n == name).map(|&(_, v)| v)
    }
}

/// `matvec[Q8_0 TOKENS=4]`: the label of the pipeline.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.flags.iter().map(|f| (*f).to_string()).collect();
        parts.extend(self.constants.iter().map(|(n, v)| format!("{n}={v}")));
        write!(f, "{}[{}]", self.kernel, parts.join(" "))
    }
}
