//! The modules of the product, and what every path in them names: rules about imports ask here instead of searching in lines.
//!
//! A path is followed as the compiler follows it: from `crate`, `self`, `super`, a module below, a name that `use` bound or renamed, or a
//! glob, through re-exports, to the file that declares its last module or item. Code under `#[cfg(test)]` is left out.
//!
//! Limits:
//! * The expansion of a macro is not seen, only the paths that are spelled out in its definition and in its calls.
//! * A method call names no path, so a type that a file only receives and passes on is not seen.
//! * A path in a string, as attributes of serde take it, is not seen.
//! * A `use` inside a function binds its names for the whole module.
//! * A glob counts as an import of the file that it names, and each name that it brings as one of the file that declares it.

use super::syntax::{Kind, Mention, Module, read};
use super::{Breach, File};
use std::collections::BTreeMap;

/// All modules, the crate's root first.
pub struct Modules {
    modules: Vec<Module>,
    /// The file that each macro of a room is declared in, by room and name.
    macros: BTreeMap<(String, String), String>,
    /// Files that no `mod` declares: they are not compiled, or a `#[path]` hides what they are.
    pub lost: Vec<Breach>,
}

/// Something that a file names.
pub struct Named<'a> {
    /// The file.
    pub file: &'a str,
    /// The line in it.
    pub line: usize,
    /// The line only re-exports something from a module below.
    pub handed_on: bool,
    /// The first room that the path leads through besides the file's own.
    pub room: Option<&'a str>,
    /// What the path leads to.
    pub target: Target,
}

/// Where a path ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In a module, or an item of it, which this file declares.
    File(String),
    /// In another crate: the whole path, with `*` behind it for a glob and `!` behind a macro that is called.
    Outside(Vec<String>),
}

/// An end that was found, before modules become files.
#[derive(Clone)]
struct End {
    /// The first module outside the origin's room on the way.
    via: Option<usize>,
    at: At,
}

#[derive(Clone)]
enum At {
    Module(usize),
    Item(usize),
    Outside(Vec<String>),
}

/// The room that `file` is in: the folder or file under `src`.
pub fn room_of(file: &str) -> &str {
    let inner = file.strip_prefix("src/").unwrap_or(file);
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

impl Modules {
    /// Reads the files under `src`.
    pub fn read(files: &[File]) -> Self {
        let (modules, lost) = read(files);
        let declared =
            modules.iter().flat_map(|m| m.macros.iter().map(|name| ((room_of(&m.file).to_string(), name.clone()), m.file.clone())));
        Self { macros: declared.collect(), modules, lost }
    }

    /// Everything that every file names.
    pub fn named(&self) -> Vec<Named<'_>> {
        let mut all = Vec::new();
        for (index, module) in self.modules.iter().enumerate() {
            for mention in &module.mentions {
                let ends = self.ends(index, mention);
                all.extend(ends.into_iter().map(|end| Named {
                    file: &module.file,
                    line: mention.line,
                    handed_on: mention.kind == Kind::HandedOn && matches!(end.at, At::Module(m) | At::Item(m) if self.is_below(m, index)),
                    room: end.via.map(|via| &self.modules[via].path[0][..]),
                    target: match end.at {
                        At::Module(m) | At::Item(m) => Target::File(self.modules[m].file.clone()),
                        At::Outside(path) => Target::Outside(path),
                    },
                }));
            }
        }
        all
    }

    fn is_below(&self, module: usize, above: usize) -> bool {
        self.modules[module].path.starts_with(&self.modules[above].path)
    }

    fn ends(&self, origin: usize, mention: &Mention) -> Vec<End> {
        let module = &self.modules[origin];
        let mut walk = Walk { modules: &self.modules, origin, active: Vec::new(), ends: Vec::new() };
        if let [name] = &mention.path[..] {
            match mention.kind {
                // A macro of `#[macro_use]` is known in its room without an import.
                Kind::Macro if !module.binds(name) => {
                    let file = self.macros.get(&(room_of(&module.file).to_string(), name.clone()));
                    let declared = file.and_then(|file| self.modules.iter().position(|m| m.file == *file));
                    return vec![End { via: None, at: declared.map_or_else(|| At::Outside(vec![format!("{name}!")]), At::Item) }];
                }
                // A module alone is no expression and no type, so this is a variable with the same name.
                Kind::Path if module.children.contains_key(name) && !module.binds(name) => return Vec::new(),
                Kind::Path => {
                    walk.step(origin, &mention.path, None);
                    return walk.ends;
                }
                _ => {}
            }
        }
        walk.resolve(origin, &mention.path, None);
        for end in &mut walk.ends {
            match (&mut end.at, mention.kind) {
                (At::Outside(path), Kind::Glob) => path.push("*".to_string()),
                (At::Outside(path), Kind::Macro) => path.iter_mut().last().into_iter().for_each(|name| name.push('!')),
                _ => {}
            }
        }
        walk.ends
    }
}

/// One path being followed.
struct Walk<'a> {
    modules: &'a [Module],
    origin: usize,
    /// Names bound by `use` that are being followed, so that none leads to itself: the module and the name's number there.
    active: Vec<(usize, usize)>,
    ends: Vec<End>,
}

impl Walk<'_> {
    /// Follows `path` as it is written in `module`.
    fn resolve(&mut self, module: usize, path: &[String], via: Option<usize>) {
        let Some((first, rest)) = path.split_first() else { return };
        match &first[..] {
            "" => self.ends.push(End { via, at: At::Outside(rest.to_vec()) }),
            "crate" => self.enter(0, rest, via),
            "self" => self.enter(module, rest, via),
            "super" => self.enter(module, path, via),
            _ if self.step(module, path, via) => {}
            _ => self.ends.push(End { via, at: At::Outside(path.to_vec()) }),
        }
    }

    /// Follows what is left of a path inside `module`.
    fn enter(&mut self, module: usize, rest: &[String], via: Option<usize>) {
        let own = &self.modules[module];
        let leaves = !own.path.is_empty() && own.path.first() != self.modules[self.origin].path.first();
        let via = via.or_else(|| leaves.then_some(module));
        match rest.first() {
            None => self.ends.push(End { via, at: At::Module(module) }),
            Some(first) if first == "super" => self.enter(own.parent, &rest[1..], via),
            Some(_) => {
                if !self.step(module, rest, via) {
                    self.ends.push(End { via, at: At::Item(module) });
                }
            }
        }
    }

    /// Follows `path`, whose first name is looked up in `module`. Returns whether the name is known there.
    fn step(&mut self, module: usize, path: &[String], via: Option<usize>) -> bool {
        let own = &self.modules[module];
        let (first, rest) = (&path[0], &path[1..]);
        let mut found = false;
        if let Some(&child) = own.children.get(first) {
            self.enter(child, rest, via);
            found = true;
        }
        // The last name may stand for a module and for a function at once.
        if !found || rest.is_empty() {
            for (i, (_, bound)) in own.bindings.iter().enumerate().filter(|(_, (name, _))| name == first) {
                if !self.active.contains(&(module, i)) {
                    self.active.push((module, i));
                    self.resolve(module, &[bound, rest].concat(), via);
                    self.active.pop();
                    found = true;
                }
            }
        }
        if !found && own.items.contains(first) {
            self.ends.push(End { via, at: At::Item(module) });
            found = true;
        }
        found || self.step_through_globs(module, path, via)
    }

    fn step_through_globs(&mut self, module: usize, path: &[String], via: Option<usize>) -> bool {
        let own = &self.modules[module];
        let mut found = false;
        for (i, glob) in own.globs.iter().enumerate() {
            let key = (module, own.bindings.len() + i);
            if self.active.contains(&key) {
                continue;
            }
            self.active.push(key);
            let before = self.ends.len();
            self.resolve(module, glob, via);
            for end in self.ends.split_off(before) {
                if let At::Module(target) = end.at {
                    found |= self.step(target, path, end.via);
                }
            }
            self.active.pop();
        }
        found
    }
}
