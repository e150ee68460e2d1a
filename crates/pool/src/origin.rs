//! What a pool knows of a job beyond what its worker needs to run it: where it comes from, for texts.

use std::any::type_name;
use std::fmt::{self, Write as _};

use procession_codec::{Codec, Message, Postcard, handles};
use procession_process::catch_panic;
use procession_sys::image::Two;
use serde::{Deserialize, Serialize};

use crate::context::ContextRef;

/// Longest text of an argument, in characters.
const LONGEST: usize = 200;

/// What travels with a job besides its items, and what stays here of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Extra {
    #[serde(skip)]
    pub(crate) origin: Origin,
    /// What the function is called with, besides the items.
    pub(crate) context: Option<ContextRef>,
    /// Contexts that nobody needs any more.
    pub(crate) forget: Vec<u128>,
    /// Number of the first item's task.
    pub(crate) task: u64,
    /// How many workers were killed on purpose before they began that item.
    pub(crate) n_killed: u32,
}

/// The types of a task, as they were written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Type of the function.
    pub(crate) signature: &'static str,
    /// Type of its argument.
    pub(crate) argument: &'static str,
}

impl Origin {
    pub(crate) fn of<A, R>(_task: fn(A) -> R) -> Self {
        Self { signature: type_name::<fn(A) -> R>(), argument: type_name::<A>() }
    }

    pub(crate) fn of_two<C, A, R>(_task: Two<C, A, R>) -> Self {
        Self { signature: type_name::<Two<C, A, R>>(), argument: type_name::<A>() }
    }
}

/// How to show arguments of one type. Costs nothing until a task has failed: then its encoded argument is decoded.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    argument: &'static str,
    text: fn(&[u8]) -> Option<String>,
}

impl Shown {
    pub(crate) fn of<A: Message + fmt::Debug>() -> Self {
        Self { argument: type_name::<A>(), text: text::<A> }
    }

    /// The text of an encoded argument of a task from `origin`, if it is of our type, and has no handles.
    pub(crate) fn text(self, origin: Origin, bytes: &[u8]) -> Option<String> {
        (self.argument == origin.argument).then(|| (self.text)(bytes)).flatten()
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.argument == other.argument
    }
}

impl Eq for Shown {}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.argument)
    }
}

fn text<A: Message + fmt::Debug>(bytes: &[u8]) -> Option<String> {
    let shown = catch_panic(|| {
        let argument = handles::supply(Vec::new(), || Postcard::decode::<A>(bytes)).ok()?;
        Some(bounded(&argument))
    });
    shown.unwrap_or_default()
}

/// The first characters of a debug text.
fn bounded(value: &impl fmt::Debug) -> String {
    let mut text = Bounded { text: String::new(), left: LONGEST };
    if write!(text, "{value:?}").is_err() {
        text.text.push_str(" ..");
    }
    text.text
}

/// Takes so many characters and no more, so that a large value is not written out to be cut.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = part.char_indices().nth(self.left).map_or(part.len(), |(end, _)| end);
        let kept = part.get(..end).unwrap_or_default();
        self.text.push_str(kept);
        self.left -= kept.chars().count();
        if end < part.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Postcard::encode_into(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_text_of_bounded_length() {
        let origin = Origin::of(|_: Vec<String>| ());
        let shown = Shown::of::<Vec<String>>();
        let bytes = encoded(&vec!["a".to_string()]);
        assert_eq!(shown.text(origin, &bytes).as_deref(), Some("[\"a\"]"));
        let long = shown.text(origin, &encoded(&vec!["ü".repeat(1000); 1000])).unwrap();
        assert_eq!(long.chars().count(), LONGEST + 3);
        assert_eq!(shown.text(Origin::of(|_: u8| ()), &bytes), None, "of another type");
        assert_eq!(shown.text(origin, &[7]), None, "damaged");
    }

    #[test]
    fn what_panics_is_not_shown() {
        #[derive(Serialize, Deserialize)]
        struct Shy;
        impl fmt::Debug for Shy {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("not me")
            }
        }
        assert_eq!(Shown::of::<Shy>().text(Origin::of(|_: Shy| ()), &[]), None);
    }
}
