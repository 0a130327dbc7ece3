//! One file of Rust as modules, the names that they bind and declare, and the paths that they mention.

use super::{Breach, File};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};

/// A module: a file, or a `mod` with a body inside one.
#[derive(Default)]
pub struct Module {
    /// Its path in the crate; the root's is empty.
    pub path: Vec<String>,
    /// The file that it is written in.
    pub file: String,
    /// The module around it; the root's is the root.
    pub parent: usize,
    /// The modules in it.
    pub children: BTreeMap<String, usize>,
    /// Names that `use` binds, and the paths that they stand for.
    pub bindings: Vec<(String, Vec<String>)>,
    /// Paths whose names are all imported.
    pub globs: Vec<Vec<String>>,
    /// Names of items declared here.
    pub items: BTreeSet<String>,
    /// Names of macros declared here.
    pub macros: BTreeSet<String>,
    /// Paths that are named here.
    pub mentions: Vec<Mention>,
}

impl Module {
    /// Whether `use` or an item makes `name` known.
    pub fn binds(&self, name: &str) -> bool {
        self.items.contains(name) || self.bindings.iter().any(|(bound, _)| bound == name)
    }
}

/// A path in the source. An empty first name stands for a leading `::`.
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In an expression, a type, a pattern or a bound.
    Path,
    /// In a `use`.
    Use,
    /// In a `use` that other modules see.
    HandedOn,
    /// What a `use` takes all names of.
    Glob,
    /// The name of a macro that is called.
    Macro,
}

/// The modules in `files`, the crate's root first, and the files that no `mod` declares.
pub fn read(files: &[File]) -> (Vec<Module>, Vec<Breach>) {
    let mut sorted: Vec<(Vec<String>, &File)> = files.iter().map(|file| (module_path(&file.path), file)).collect();
    // The files that declare modules stand before those modules'.
    sorted.sort_by_key(|(path, _)| path.len());
    let mut reader = Reader { modules: vec![Module { file: "src/lib.rs".to_string(), ..Default::default() }], ..Default::default() };
    let mut lost = Vec::new();
    for (path, file) in sorted {
        if reader.tests.iter().any(|test| path.starts_with(test)) {
            continue;
        }
        // The program's own file is the root of another crate.
        if !path.is_empty() && path != ["main"] && !reader.declared.contains(&path) {
            lost.push(Breach::new(&file.path, 1, "no `mod` declares this file"));
        }
        let parsed = syn::parse_file(&file.text).unwrap_or_else(|e| panic!("{}:{}: {e}", file.path, e.span().start().line));
        if !parsed.attrs.iter().any(is_test) {
            reader.current = if path.is_empty() { 0 } else { reader.open(path, &file.path) };
            reader.visit_file(&parsed);
        }
    }
    (reader.modules, lost)
}

/// `src/a/mod.rs` and `src/a.rs` are module `a`, `src/a/b.rs` is `a::b`.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    inner.split('/').filter(|name| !["mod", "lib"].contains(name)).map(str::to_string).collect()
}

fn is_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
}

#[derive(Default)]
struct Reader {
    modules: Vec<Module>,
    /// The module being read.
    current: usize,
    /// Paths of modules in files of their own.
    declared: BTreeSet<Vec<String>>,
    /// Those of them that only tests see.
    tests: BTreeSet<Vec<String>>,
}

impl Reader {
    /// Adds the module `path`, written in `file`, to the module around it.
    fn open(&mut self, path: Vec<String>, file: &str) -> usize {
        let (name, around) = (path.last().cloned().unwrap_or_default(), &path[..path.len() - 1]);
        let parent = self.modules.iter().position(|m| m.path == around).unwrap_or(0);
        let index = self.modules.len();
        self.modules[parent].children.insert(name, index);
        self.modules.push(Module { path, file: file.to_string(), parent, ..Default::default() });
        index
    }

    fn module(&mut self) -> &mut Module {
        &mut self.modules[self.current]
    }

    fn mention(&mut self, path: Vec<String>, line: usize, kind: Kind) {
        self.module().mentions.push(Mention { path, line, kind });
    }

    fn mention_path(&mut self, path: &syn::Path, kind: Kind) {
        let start = path.leading_colon.as_ref().map(|_| String::new());
        let names = path.segments.iter().map(|segment| segment.ident.unraw().to_string());
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.mention(start.into_iter().chain(names).collect(), line, kind);
    }

    fn use_tree(&mut self, tree: &syn::UseTree, mut path: Vec<String>, kind: Kind) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.unraw().to_string());
                self.use_tree(&part.tree, path, kind);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(tree, path.clone(), kind)),
            syn::UseTree::Glob(glob) => {
                self.module().globs.push(path.clone());
                self.mention(path, glob.star_token.spans[0].start().line, Kind::Glob);
            }
            syn::UseTree::Name(part) => self.bind(path, &part.ident, &part.ident, kind),
            syn::UseTree::Rename(part) => self.bind(path, &part.ident, &part.rename, kind),
        }
    }

    /// `use path::ident as name`.
    fn bind(&mut self, mut path: Vec<String>, ident: &syn::Ident, name: &syn::Ident, kind: Kind) {
        // `a::{self}` is `a`, by its own name where it gets no other.
        let is_self = ident == "self" && !path.is_empty();
        let name = if is_self && name == "self" { path.last().cloned().unwrap_or_default() } else { name.unraw().to_string() };
        if !is_self {
            path.push(ident.unraw().to_string());
        }
        self.module().bindings.push((name, path.clone()));
        self.mention(path, ident.span().start().line, kind);
    }

    /// The paths among the tokens of a macro's definition or call, or of an attribute.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let mut i = 0;
        while i < tokens.len() {
            let first = match &tokens[i] {
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    i += 1;
                    continue;
                }
                TokenTree::Ident(ident) => ident,
                _ => {
                    i += 1;
                    continue;
                }
            };
            let end = (i..tokens.len()).find(|&at| is(at, ';')).unwrap_or(tokens.len() - 1);
            if first == "use"
                && let Ok(item) = syn::parse2::<syn::ItemUse>(tokens[i..=end].iter().cloned().collect())
            {
                self.visit_item_use(&item);
                i = end + 1;
                continue;
            }
            let before = i.wrapping_sub(1);
            let line = first.span().start().line;
            let mut path = vec![first.unraw().to_string()];
            while is(i + 1, ':')
                && is(i + 2, ':')
                && let Some(TokenTree::Ident(next)) = tokens.get(i + 3)
            {
                path.push(next.unraw().to_string());
                i += 3;
            }
            i += 1;
            // Fields, lifetimes and the parameters of macros are no paths, and a single name in lower case is most likely a variable.
            let is_called = matches!(tokens.get(i), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis);
            let is_macro = is(i, '!') && !is(i + 1, '=');
            let is_parameter = is(before, '$') && path[0] != "crate";
            let may_be_item = path.len() > 1 || is_called || is_macro || path[0].starts_with(char::is_uppercase);
            if may_be_item && !is_parameter && !is(before, '.') && !is(before, '\'') {
                self.mention(path, line, if is_macro { Kind::Macro } else { Kind::Path });
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item::{Const, Enum, ExternCrate, Fn, Impl, Macro, Mod, Static, Struct, Trait, Type, Union, Use};
        let (attributes, name) = match item {
            Const(i) => (&i.attrs, Some(&i.ident)),
            Enum(i) => (&i.attrs, Some(&i.ident)),
            ExternCrate(i) => (&i.attrs, None),
            Fn(i) => (&i.attrs, Some(&i.sig.ident)),
            Impl(i) => (&i.attrs, None),
            Macro(i) => (&i.attrs, i.ident.as_ref()),
            Mod(i) => (&i.attrs, None),
            Static(i) => (&i.attrs, Some(&i.ident)),
            Struct(i) => (&i.attrs, Some(&i.ident)),
            Trait(i) => (&i.attrs, Some(&i.ident)),
            Type(i) => (&i.attrs, Some(&i.ident)),
            Union(i) => (&i.attrs, Some(&i.ident)),
            Use(i) => (&i.attrs, None),
            other => return visit::visit_item(self, other),
        };
        let only_tests = attributes.iter().any(is_test);
        if let Mod(module) = item
            && module.content.is_none()
        {
            let path = [&self.module().path[..], &[module.ident.unraw().to_string()]].concat();
            if only_tests {
                self.tests.insert(path.clone());
            }
            self.declared.insert(path);
        }
        if only_tests {
            return;
        }
        if let Some(name) = name {
            let name = name.unraw().to_string();
            if matches!(item, Macro(_)) {
                self.module().macros.insert(name);
            } else {
                self.module().items.insert(name);
            }
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(i) => &i.attrs[..],
            syn::ImplItem::Fn(i) => &i.attrs,
            syn::ImplItem::Type(i) => &i.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_test) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let Some((_, items)) = &module.content else { return };
        let path = [&self.module().path[..], &[module.ident.unraw().to_string()]].concat();
        let (outer, file) = (self.current, self.module().file.clone());
        self.current = self.open(path, &file);
        items.iter().for_each(|item| self.visit_item(item));
        self.current = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let kind = if matches!(item.vis, syn::Visibility::Inherited) { Kind::Use } else { Kind::HandedOn };
        let start = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
        self.use_tree(&item.tree, start, kind);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let path = if item.ident == "self" { vec!["crate".to_string()] } else { vec![String::new(), item.ident.unraw().to_string()] };
        let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name).unraw().to_string();
        self.module().bindings.push((name, path.clone()));
        self.mention(path, item.ident.span().start().line, Kind::Use);
    }

    /// `pub(super)` and `pub(in ...)` import nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mention_path(path, Kind::Path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.mention_path(&call.path, Kind::Macro);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}
