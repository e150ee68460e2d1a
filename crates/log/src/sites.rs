//! Places in the program that events and spans come from, as `tracing` knows them, made of what children say of theirs.
//!
//! `tracing` wants what an event is (its name, level, target, file, names of fields) to live for ever and to be registered
//! once. `tracing-log` has one such place for each level, and puts what differs into fields, which then every layer must know
//! of. Here each place of a child is made once, under its own name and target and with its own fields, and kept for ever:
//! filters by target, and formats that show file and line, work as for events of this process. Children run the same program,
//! so there are no more places than that has; what goes beyond [`MOST`] comes without its fields and under our own target.
//!
//! Invariant: one definition has one place. Held by `tests/tracing.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use procession_sys::per_process::PerProcess;
use tracing::Metadata;
use tracing::field::FieldSet;
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing_core::callsite::{self, Callsite, Identifier};

use crate::frame::Reader;
use crate::level;

/// So many places are made.
const MOST: usize = 1 << 16;

/// Fields that each place has beyond those of the child.
pub(crate) const OURS: [&str; 2] = ["process", "pid"];

/// A place.
#[derive(Debug)]
pub(crate) struct Site {
    metadata: OnceLock<Metadata<'static>>,
    interest: AtomicU8,
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let interest = if interest.is_never() {
            NEVER
        } else if interest.is_always() {
            ALWAYS
        } else {
            SOMETIMES
        };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("was set before anybody else knew of the place")
    }
}

impl Site {
    pub(crate) fn of(&'static self) -> &'static Metadata<'static> {
        self.metadata.get().expect("was set before anybody else knew of the place")
    }

    /// Whether anybody wants what comes from here; as the macros of `tracing` ask it.
    pub(crate) fn is_enabled(&'static self) -> bool {
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => tracing::dispatcher::get_default(|dispatch| dispatch.enabled(self.of())),
        }
    }
}

type Sites = Mutex<HashMap<(bool, Box<[u8]>), Option<&'static Site>>>;

/// The place of this definition; `None` if it makes no sense, or there are too many.
pub(crate) fn site(definition: &[u8], is_span: bool) -> Option<&'static Site> {
    static SITES: PerProcess<Sites> = PerProcess::new();
    // No code of others runs under it.
    let mut sites = SITES.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (is_span, Box::from(definition));
    if let Some(known) = sites.get(&key) {
        return *known;
    }
    if sites.len() >= MOST {
        return None;
    }
    let made = make(definition, is_span);
    sites.insert(key, made);
    drop(sites);
    if let Some(site) = made {
        callsite::register(site);
    }
    made
}

fn make(definition: &[u8], is_span: bool) -> Option<&'static Site> {
    let mut reader = Reader::of(definition);
    let level = level::level(reader.u8()?)?;
    let (name, target) = (reader.str()?, reader.str()?);
    let (module, file) = (reader.optional()?, reader.optional()?);
    let line = Some(reader.u32()?).filter(|line| *line != 0);
    let mut fields = Vec::new();
    while !reader.is_empty() {
        fields.push(kept(reader.str()?));
    }
    fields.extend(OURS);
    let site: &'static Site =
        Box::leak(Box::new(Site { metadata: OnceLock::new(), interest: AtomicU8::new(SOMETIMES) }));
    let fields = FieldSet::new(Box::leak(fields.into_boxed_slice()), Identifier(site));
    let kind = if is_span { Kind::SPAN } else { Kind::EVENT };
    let metadata =
        Metadata::new(kept(name), kept(target), level, file.map(kept), line, module.map(kept), fields, kind);
    site.metadata.set(metadata).ok()?;
    Some(site)
}

/// A copy that is never freed.
fn kept(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}
