//! The texts that the checks read: every Rust file of the tree, every manifest, and the pages at the root.
//!
//! Invariant: directories that cargo marked as caches and those whose name starts with a dot are not entered,
//! so that the tree can be checked where no git is installed.

use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};

/// Texts by path; paths are relative to the root, use `/`, and are sorted.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
    texts: Vec<(String, String)>,
}

impl Files {
    /// Reads the tree of the workspace.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self, String> {
        let mut files = Self { root: workspace.root.clone(), texts: Vec::new() };
        files.enter(&workspace.root)?;
        files.texts.sort();
        Ok(files)
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (&**path, &**text))
    }

    /// The pages, which are no code.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(|(path, _)| path.ends_with(".md")).map(|(path, text)| (&**path, &**text))
    }

    /// The text at `path`, where there is such a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|(other, _)| other == path).map(|(_, text)| &**text)
    }

    /// Writes `text` to `path`, here and on disk.
    pub(crate) fn write(&mut self, path: &str, text: String) -> Result<(), String> {
        fs::write(self.root.join(path), &text).map_err(|e| format!("writing {path}: {e}"))?;
        self.texts.retain(|(other, _)| other != path);
        self.texts.push((path.to_owned(), text));
        self.texts.sort();
        Ok(())
    }

    /// Samples for the tests of the checks.
    #[cfg(test)]
    pub(crate) fn of(texts: &[(&str, &str)]) -> Self {
        let texts = texts.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
        Self { root: PathBuf::new(), texts }
    }

    fn enter(&mut self, dir: &Path) -> Result<(), String> {
        let entries = fs::read_dir(dir).map_err(|e| format!("listing {}: {e}", dir.display()))?;
        for entry in entries {
            let entry = entry.map_err(|e| format!("listing {}: {e}", dir.display()))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().map_err(|e| format!("looking at {}: {e}", path.display()))?;
            if kind.is_dir() && !name.starts_with('.') && !path.join("CACHEDIR.TAG").exists() {
                self.enter(&path)?;
            } else if kind.is_file() && is_read(&name) {
                let text =
                    fs::read_to_string(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
                let relative = path.strip_prefix(&self.root).unwrap_or(&path);
                self.texts.push((relative.to_string_lossy().into_owned(), text));
            }
        }
        Ok(())
    }
}

fn is_read(name: &str) -> bool {
    ["rs", "toml", "md", "txt"].iter().any(|extension| name.ends_with(&format!(".{extension}")))
}
