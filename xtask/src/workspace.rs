//! What `cargo metadata` says about the workspace, reduced to what the checks read.
//!
//! Invariant: nothing here looks into a manifest; what cargo resolved is the truth that is checked.

use crate::run::Run;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough to fetch every dependency once.
const WATCHDOG: Duration = Duration::from_secs(10 * 60);

/// The workspace and every package in its graph.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A package, ours or somebody else's.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) license: Option<String>,
    pub(crate) is_member: bool,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// An arrow from a package to another.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

/// A library, program, test, example or bench of a package.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) source: PathBuf,
}

impl Workspace {
    /// Asks cargo; reads the network only if a dependency was never fetched.
    pub(crate) fn read() -> Result<Self, String> {
        let ours = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into());
        let mut answer = String::new();
        let run = Run::cargo(Path::new(&ours), WATCHDOG).args(["metadata", "--format-version", "1"]);
        run.lines(|line| {
            if line.starts_with('{') {
                answer = line.to_owned();
            } else {
                println!("{line}");
            }
        })?;
        Self::parse(&answer)
    }

    /// The answer of `cargo metadata --format-version 1`.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json).map_err(|e| format!("reading cargo metadata: {e}"))?;
        let members: Vec<&str> = items(&value["workspace_members"]).filter_map(Value::as_str).collect();
        let packages = items(&value["packages"]).map(|package| Package::parse(package, &members)).collect();
        Ok(Self {
            root: text(&value["workspace_root"]).into(),
            target: text(&value["target_directory"]).into(),
            packages,
        })
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_member)
    }

    /// Our own package of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&Package> {
        self.members().find(|package| package.name == name)
    }

    /// `path` as seen from the root, with `/` between its parts.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

impl Package {
    fn parse(value: &Value, members: &[&str]) -> Self {
        let id = text(&value["id"]);
        let manifest = PathBuf::from(text(&value["manifest_path"]));
        Self {
            name: text(&value["name"]),
            version: text(&value["version"]),
            dir: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            license: value["license"].as_str().map(str::to_owned),
            is_member: members.contains(&id.as_str()),
            dependencies: items(&value["dependencies"]).map(Dependency::parse).collect(),
            targets: items(&value["targets"]).map(Target::parse).collect(),
            id,
        }
    }

    /// The targets of one kind: `lib`, `bin`, `test`, `example`, `bench`, `custom-build`.
    pub(crate) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(move |target| target.kind == kind)
    }

    /// The file that decides the lints of the package: of its library, or else of its program.
    pub(crate) fn root_source(&self) -> Option<&Path> {
        let lib = self.targets_of("lib").chain(self.targets_of("proc-macro")).next();
        lib.or_else(|| self.targets_of("bin").next()).map(|target| target.source.as_path())
    }
}

impl Dependency {
    fn parse(value: &Value) -> Self {
        Self { name: text(&value["name"]), is_dev: value["kind"] == "dev" }
    }
}

impl Target {
    fn parse(value: &Value) -> Self {
        let kind = items(&value["kind"]).next().map(text).unwrap_or_default();
        Self { kind, name: text(&value["name"]), source: text(&value["src_path"]).into() }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_members_arrows_and_targets() {
        let json = r#"{"workspace_root":"/w","target_directory":"/w/target","workspace_members":["a 1"],"packages":[
            {"id":"a 1","name":"a","version":"1","license":"MIT","manifest_path":"/w/crates/a/Cargo.toml",
             "dependencies":[{"name":"b","kind":null},{"name":"c","kind":"dev"}],
             "targets":[{"kind":["lib"],"name":"a","src_path":"/w/crates/a/src/lib.rs"}]},
            {"id":"b 1","name":"b","version":"1","license":null,"manifest_path":"/r/b/Cargo.toml",
             "dependencies":[],"targets":[]}]}"#;
        let workspace = Workspace::parse(json).unwrap();
        assert_eq!(workspace.members().count(), 1);
        let a = workspace.member("a").unwrap();
        assert_eq!(workspace.relative(a.root_source().unwrap()), "crates/a/src/lib.rs");
        let arrows: Vec<_> = a.dependencies.iter().map(|d| (d.name.as_str(), d.is_dev)).collect();
        assert_eq!(arrows, [("b", false), ("c", true)]);
        assert!(workspace.member("b").is_none());
    }
}
