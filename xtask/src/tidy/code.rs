//! The code of a Rust file without its comments, strings and characters.
//!
//! Invariant: what is taken out becomes spaces, and line ends stay, so that the line of a finding is the line
//! in the file. The reader is approximate only for token pasting inside macros, which the checks do not need.

/// `text` with the content of comments, string literals and character literals blanked.
pub(crate) fn only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The identifiers and keywords of `code`, each with the number of its line, counted from 1.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(n, line)| {
        line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).map(move |word| (n + 1, word))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The end of the comment or literal that starts at `at`, or `at` if none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => find(chars, at, |c| c == '\n'),
        ('/', Some('*')) => block_comment(chars, at),
        ('"', _) => string(chars, at + 1),
        ('r' | 'b' | 'c', _) if at == 0 || !is_word(chars[at - 1]) => prefixed(chars, at),
        ('\'', Some('\\')) => find(chars, at + 3, |c| c == '\'') + 1,
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, is_end: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&i| is_end(chars[i])).unwrap_or(chars.len())
}

/// Block comments nest.
fn block_comment(chars: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (i, depth) = (i + 2, depth + 1),
            ('*', '/') => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// The end of a string whose text starts at `at`.
fn string(chars: &[char], at: usize) -> usize {
    let mut i = at;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// A literal that starts with letters, such as `br#".."#` or `b'x'`; `at` itself for a name that only looks
/// like one.
fn prefixed(chars: &[char], at: usize) -> usize {
    let letters = chars[at..].iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let raw = chars[at..at + letters].contains(&'r');
    let hashes = chars[at + letters..].iter().take_while(|&&c| c == '#').count();
    let quote = at + letters + hashes;
    match chars.get(quote) {
        Some('"') if raw => raw_string(chars, quote + 1, hashes),
        Some('"') if hashes == 0 => string(chars, quote + 1),
        _ => at,
    }
}

fn raw_string(chars: &[char], at: usize, hashes: usize) -> usize {
    let is_end = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (at..chars.len()).find(|&i| is_end(i)).map_or(chars.len(), |i| i + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> Vec<String> {
        words(&only(text)).map(|(_, word)| word.to_owned()).collect()
    }

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        assert_eq!(left("a // x\nb /* x /* y */ x */ c"), ["a", "b", "c"]);
        assert_eq!(left(r#"a "x \" // x" b b"x" c"x" d"#), ["a", "b", "d"]);
        assert_eq!(left(r####"a r#"x " x"# b br"x\" c r##"x"# x"## d"####), ["a", "b", "c", "d"]);
        assert_eq!(left(r"a 'x' '\'' '\u{41}' b'x' 'static &'a str"), ["a", "b", "static", "a", "str"]);
        assert_eq!(left("r#type brr crab"), ["r", "type", "brr", "crab"]);
    }

    #[test]
    fn unfinished_text_ends() {
        for text in ["\"x", "/* x", "r#\"x\"", "'\\", "'", "// x", "b\"\\"] {
            assert!(!left(text).contains(&"x".to_owned()), "{text}");
        }
    }

    #[test]
    fn lines_stay() {
        let code = only("/* \n x */ one\n\"\n\" two");
        assert_eq!(words(&code).collect::<Vec<_>>(), [(2, "one"), (4, "two")]);
    }
}
