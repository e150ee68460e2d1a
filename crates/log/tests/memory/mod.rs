//! A logger that keeps what it is given, for the tests of one program.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// A record that was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) process: String,
    pub(crate) pid: u32,
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) file: String,
    pub(crate) text: String,
    /// All fields, `key=value`.
    pub(crate) fields: Vec<String>,
}

struct Memory;

static GOT: Mutex<Vec<Got>> = Mutex::new(Vec::new());

fn got() -> MutexGuard<'static, Vec<Got>> {
    GOT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for Memory {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != "unwanted"
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(Vec::new());
        record.key_values().visit(&mut fields).unwrap();
        let origin = procession_log::origin();
        got().push(Got {
            process: origin.as_ref().map(|who| who.name.clone()).unwrap_or_default(),
            pid: origin.map(|who| who.pid).unwrap_or_default(),
            level: record.level(),
            target: record.target().into(),
            file: record.file().unwrap_or_default().into(),
            text: record.args().to_string(),
            fields: fields.0,
        });
        assert!(record.target() != "panics", "a logger that panics");
    }

    fn flush(&self) {}
}

struct Fields(Vec<String>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push(format!("{key}={value}"));
        Ok(())
    }
}

/// Installs it; once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_boxed_logger(Box::new(procession_log::logger(Memory))).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
}

/// What has come of the processes whose names begin like this, taken.
pub(crate) fn take(name: &str) -> Vec<Got> {
    got().extract_if(.., |got| got.process.starts_with(name)).collect()
}

/// Their texts.
#[allow(dead_code, reason = "not every program of tests needs it")]
pub(crate) fn texts(name: &str) -> Vec<String> {
    take(name).into_iter().map(|got| got.text).collect()
}
