//! The guide under `docs/`: its programs are examples that run, and its links lead somewhere.
//!
//! A block of Rust in a page is nothing but an `{{#include ../examples/NAME.rs}}`, or `:ANCHOR` of one, so what readers
//! copy is what the tests run. `ci --long` builds the book.

use super::files::Files;
use std::collections::BTreeSet;

/// Where the pages lie, and which of them lists the others.
const FOLDER: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";

pub(crate) fn check(files: &Files) -> Vec<String> {
    let Some(summary) = files.text(SUMMARY) else {
        return vec![format!("{SUMMARY} is missing: the list of the guide's pages")];
    };
    let listed: BTreeSet<String> = links(summary).map(|link| resolve(SUMMARY, link)).collect();
    let unlisted = pages(files)
        .filter(|(path, _)| *path != SUMMARY && !listed.contains(*path))
        .map(|(path, _)| format!("{path}: not listed in {SUMMARY}"));
    let programs = pages(files).flat_map(|(path, text)| programs(files, path, text));
    let dead = pages(files).flat_map(|(path, text)| dead_links(files, path, text));
    unlisted.chain(programs).chain(dead).collect()
}

fn pages(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    files.pages().filter(|(path, _)| path.starts_with(FOLDER))
}

/// Complaints about the blocks of Rust of a page.
fn programs(files: &Files, path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        if !kind.starts_with("rust") {
            continue;
        }
        let fault = match block[..] {
            [line] => included(files, path, line).err(),
            _ => Some("a block of Rust is one `{{#include ../examples/NAME.rs:ANCHOR}}`".to_owned()),
        };
        complaints.extend(fault.map(|fault| format!("{path}:{}: {fault}", n + 1)));
    }
    complaints
}

/// Whether the line includes an example, or a marked part of one.
fn included(files: &Files, path: &str, line: &str) -> Result<(), String> {
    let what = line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
    let what = what.ok_or_else(|| format!("`{line}` is no `{{{{#include ..}}}}`"))?;
    let (file, anchor) = what.split_once(':').unwrap_or((what, ""));
    let file = resolve(path, file);
    if !file.starts_with("examples/") {
        return Err(format!("{file} is not among the examples, so nothing runs it"));
    }
    let text = files.text(&file).ok_or_else(|| format!("there is no {file}"))?;
    let has = |mark: &str| text.lines().any(|line| line.trim() == format!("// {mark}: {anchor}"));
    if anchor.is_empty() && text.contains("// ANCHOR") {
        Err(format!("{file} has marks that the book would show: include one of its parts"))
    } else if anchor.is_empty() || has("ANCHOR") && has("ANCHOR_END") {
        Ok(())
    } else {
        Err(format!("{file} has no part between `// ANCHOR: {anchor}` and `// ANCHOR_END: {anchor}`"))
    }
}

fn dead_links(files: &Files, path: &str, text: &str) -> Vec<String> {
    let is_local = |link: &&str| !link.contains("://") && !link.starts_with("mailto:");
    let dead = |link: &&str| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { path.to_owned() } else { resolve(path, file) };
        match files.text(&file) {
            None => !files.root.join(&file).exists(),
            Some(text) => !heading.is_empty() && !headings(text).any(|slug| slug == heading),
        }
    };
    links(text)
        .filter(is_local)
        .filter(dead)
        .map(|link| format!("{path}: the link to `{link}` leads nowhere"))
        .collect()
}

/// What stands in the round brackets of `[text](target)`, outside of blocks of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    let prose = text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    prose.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
}

/// The names of headings as the book makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let slug = |title: &str| {
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(move |line| slug(line.trim_start_matches('#')))
}

/// `link` as `page` means it, from the root.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: &str = "//! Says it.\n// ANCHOR: main\nfn main() {}\n// ANCHOR_END: main\n";

    /// What is said of this page, beside good ones.
    fn complaints(page: &str) -> Vec<String> {
        check(&Files::of(&[
            (SUMMARY, "- [One](one.md)\n- [Two](deep/two.md)\n"),
            ("docs/deep/two.md", page),
            ("docs/one.md", "# One of `many`\n"),
            ("examples/hello.rs", "//! Says it.\nfn main() {}\n"),
            ("examples/marked.rs", MARKED),
        ]))
    }

    #[test]
    fn programs_are_examples() {
        for good in ["{{#include ../../examples/hello.rs}}", "{{#include ../../examples/marked.rs:main}}"] {
            assert_eq!(complaints(&format!("```rust\n{good}\n```\n```sh\nls\n```\n")), [""; 0]);
        }
        let bad = [
            "fn main() {}",
            "",
            "{{#include ../../examples/none.rs}}",
            "{{#include ../../examples/hello.rs:none}}",
            "{{#include ../../examples/marked.rs}}",
            "{{#include ../../examples/marked.rs:none}}",
            "{{#include ../one.md}}",
            "{{#include ../../examples/hello.rs}}\nfn more() {}",
        ];
        for bad in bad {
            assert_eq!(complaints(&format!("```rust,ignore\n{bad}\n```\n")).len(), 1, "{bad}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        assert_eq!(complaints("[a](../one.md), [b](../one.md#one-of-many) and [c](https://x.y/z)"), [""; 0]);
        for bad in ["[a](one.md)", "[a](../one.md#two)", "[a](#none)", "x [a](../one.md), [b](none)"] {
            assert_eq!(complaints(bad).len(), 1, "{bad}");
        }
        assert_eq!(complaints("```text\n[a](none)\n```\n"), [""; 0]);
    }

    #[test]
    fn every_page_is_listed() {
        let files = Files::of(&[(SUMMARY, "- [One](one.md)\n"), ("docs/one.md", ""), ("docs/two.md", "")]);
        assert_eq!(check(&files), ["docs/two.md: not listed in docs/SUMMARY.md"]);
        assert_eq!(check(&Files::of(&[])).len(), 1);
    }
}
