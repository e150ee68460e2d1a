//! Every package that can be part of a build may be used under a licence we accept.
//!
//! Invariant: `deny.toml` accepts exactly the licences of [`ACCEPTED`]. An expression that cannot be read is
//! refused.

use super::files::Files;
use crate::workspace::Workspace;

/// Permissive licences, as SPDX names them.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Looks at the licence of every package, and at `deny.toml`.
pub(crate) fn check(workspace: &Workspace, files: &Files) -> Vec<String> {
    let mut complaints: Vec<String> = workspace
        .packages
        .iter()
        .filter_map(|package| {
            let name = format!("{} {}", package.name, package.version);
            match &package.license {
                None => Some(format!("{name} states no licence expression")),
                Some(licence) if is_accepted(licence) => None,
                Some(licence) => {
                    Some(format!("{name} is `{licence}`, which the accepted licences do not satisfy"))
                }
            }
        })
        .collect();
    complaints.extend(check_deny(files.text("deny.toml").unwrap_or_default()));
    complaints
}

fn check_deny(text: &str) -> Vec<String> {
    let said: Vec<&str> = list(text, "allow").collect();
    let missing = ACCEPTED.iter().filter(|name| !said.contains(name));
    let stale = said.iter().filter(|name| !ACCEPTED.contains(name));
    missing
        .chain(stale)
        .map(|name| format!("deny.toml and xtask/src/tidy/licences.rs disagree about {name}"))
        .collect()
}

/// The strings of `name = [ .. ]`.
fn list<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = text.split_once(&format!("\n{name} = [")).map_or("", |(_, rest)| rest);
    let inside = start.split_once(']').map_or("", |(inside, _)| inside);
    inside.split('"').skip(1).step_by(2)
}

/// Whether `expression` can be satisfied by accepted licences alone. `/` is the old spelling of `OR`.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens };
    reader.any() == Some(true) && reader.tokens.is_empty()
}

/// Reads `OR` of `AND` of names and parentheses; `None`: not an expression.
struct Reader<'a> {
    tokens: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Option<bool> {
        let mut accepted = self.all()?;
        while self.takes("OR") {
            accepted |= self.all()?;
        }
        Some(accepted)
    }

    fn all(&mut self) -> Option<bool> {
        let mut accepted = self.one()?;
        while self.takes("AND") {
            accepted &= self.one()?;
        }
        Some(accepted)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let accepted = self.any()?;
            return self.takes(")").then_some(accepted);
        }
        let name = self.next().filter(|name| !["OR", "AND", "WITH", ")"].contains(name))?;
        if self.takes("WITH") {
            let exception = self.next()?;
            return Some(
                ACCEPTED.contains(&name) || ACCEPTED.contains(&&*format!("{name} WITH {exception}")),
            );
        }
        Some(ACCEPTED.contains(&name))
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn takes(&mut self, token: &str) -> bool {
        let takes = self.tokens.first() == Some(&token);
        if takes {
            self.tokens = &self.tokens[1..];
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_accepted_licences_satisfy() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR LGPL-2.1-or-later",
            "GPL-3.0-only OR (MIT AND Unicode-3.0)",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
        ] {
            assert!(is_accepted(good), "{good}");
        }
    }

    #[test]
    fn expressions_that_they_do_not() {
        for bad in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "MIT OR",
            "(MIT",
            "MIT MIT",
            "GPL-2.0-only WITH Classpath-exception-2.0",
        ] {
            assert!(!is_accepted(bad), "{bad}");
        }
    }

    #[test]
    fn deny_toml_accepts_the_same() {
        let all = ACCEPTED.iter().map(|name| format!("\"{name}\", ")).collect::<String>();
        assert_eq!(check_deny(&format!("[licenses]\nallow = [{all}]\n")), [""; 0]);
        assert_eq!(check_deny(&format!("[licenses]\nallow = [{all} \"GPL-3.0-only\"]\n")).len(), 1);
        assert_eq!(check_deny("").len(), ACCEPTED.len());
    }
}
