//! Bytes to lines.

/// Longest line, in bytes. A longer one is handed on in pieces.
pub(super) const LONGEST: usize = 64 << 10;

/// What has no end yet.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rest: Vec<u8>,
}

impl Cutter {
    /// Hands the lines that end in `bytes`, and pieces of one that is too long, to `hear`, with whether the line goes on.
    pub(super) fn feed(&mut self, bytes: &[u8], hear: &mut impl FnMut(&str, bool)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = part.strip_suffix(b"\n");
            self.rest.extend_from_slice(line.unwrap_or(part));
            while self.rest.len() > LONGEST {
                let at = boundary(&self.rest);
                hear(&String::from_utf8_lossy(&self.rest[..at]), true);
                self.rest.drain(..at);
            }
            if line.is_some() {
                let text = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
                hear(&String::from_utf8_lossy(text), false);
                self.rest.clear();
            }
        }
    }

    /// Hands on what has no end.
    pub(super) fn finish(&mut self, hear: &mut impl FnMut(&str, bool)) {
        if !self.rest.is_empty() {
            hear(&String::from_utf8_lossy(&self.rest), false);
            self.rest.clear();
        }
    }
}

/// Where to cut so that no character is cut apart, at most [`LONGEST`].
fn boundary(bytes: &[u8]) -> usize {
    let begins = |at: &usize| bytes[*at] & 0b1100_0000 != 0b1000_0000;
    (LONGEST - 3..=LONGEST).rev().find(begins).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of what comes in these pieces, and of them those that go on.
    fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, bool)> {
        let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
        let mut hear = |text: &str, goes_on| lines.push((text.to_owned(), goes_on));
        for piece in pieces {
            cutter.feed(piece, &mut hear);
        }
        cutter.finish(&mut hear);
        cutter.finish(&mut hear);
        lines
    }

    #[test]
    fn the_same_lines_however_they_come() {
        let text = "one\n\ntwo\r\nünf\n\r\nlast".as_bytes();
        let expected = ["one", "", "two", "ünf", "", "last"].map(|line| (line.to_owned(), false));
        for n in 1..=text.len() {
            assert_eq!(lines(text.chunks(n)), expected, "by {n}");
        }
        assert_eq!(lines([]), []);
        assert_eq!(lines([&b"a\n"[..]]), [("a".into(), false)]);
        assert_eq!(lines([&b"\xff\xfea\n"[..]]), [("\u{fffd}\u{fffd}a".into(), false)]);
    }

    #[test]
    fn long_ones_in_pieces_between_characters() {
        let piece = |len: usize, goes_on| ("x".repeat(len), goes_on);
        let long = |n: usize| lines([[&vec![b'x'; n][..], b"\ny"].concat().as_slice()]);
        assert_eq!(long(LONGEST), [piece(LONGEST, false), ("y".into(), false)]);
        assert_eq!(long(LONGEST + 1), [piece(LONGEST, true), piece(1, false), ("y".into(), false)]);
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"\u{1f600}".repeat(40_000);
            let lines = lines(text.as_bytes().chunks(1000));
            assert!(lines.iter().all(|(line, _)| line.len() <= LONGEST && !line.contains('\u{fffd}')));
            assert_eq!(lines.iter().map(|(line, _)| line.as_str()).collect::<String>(), text);
            assert!(lines.iter().rev().skip(1).all(|(_, goes_on)| *goes_on) && !lines.last().unwrap().1);
        }
        // No UTF-8 at all: somewhere.
        assert_eq!(lines([&vec![0x80; LONGEST + 5][..]]).len(), 2);
    }
}
