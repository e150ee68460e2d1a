//! The crate `log`: a logger that ships in children, and passes on to another one elsewhere.
//!
//! Frames: level, target, module, file, line, message, and key-values until the end.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use log::kv::{self, Key, Source, ToValue, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::frame::{Frame, Kind, Reader, Writer};
use crate::outlet::{Outlet, outlet};
use crate::value::{Value, tag};

/// Makes a logger for this process and all of its children: here it is `logger`, and in a child it ships to the parent's.
/// Also does what [`collect`](crate::collect()) does.
///
/// For programs that [fork](procession_process::StartMethod::Fork) children of themselves, which have the loggers of their
/// parent: with this one they ship. For others it is enough to [`collect`](crate::collect()).
///
/// ```
/// # struct Terminal;
/// # impl log::Log for Terminal {
/// #     fn enabled(&self, _: &log::Metadata<'_>) -> bool { true }
/// #     fn log(&self, _: &log::Record<'_>) {}
/// #     fn flush(&self) {}
/// # }
/// // With any logger that can be had as a value: `env_logger::Builder::from_default_env().build()`, …
/// log::set_boxed_logger(Box::new(procession_log::logger(Terminal)))?;
/// log::set_max_level(log::LevelFilter::Info);
///
/// procession_process::spawn(|()| log::info!("a child"), ())?.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn logger<L: Log>(logger: L) -> Logger<L> {
    crate::collect();
    Logger(logger)
}

/// See [`logger`].
#[derive(Debug)]
pub struct Logger<L>(L);

impl<L: Log> Log for Logger<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match outlet() {
            Some(_) => metadata.level() <= log::max_level(),
            None => self.0.enabled(metadata),
        }
    }

    fn log(&self, record: &Record<'_>) {
        match outlet() {
            Some(outlet) => ship(outlet, record),
            None => self.0.log(record),
        }
    }

    fn flush(&self) {
        if outlet().is_none() {
            self.0.flush();
        }
    }
}

/// A logger that ships in children, and does nothing in processes that have no parent to ship to.
///
/// Children have it from before their task starts. It is here for those that install a logger of their own all the same,
/// and want both.
///
/// ```
/// let log: &dyn log::Log = &procession_log::Shipper;
/// log.flush();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Shipper;

impl Log for Shipper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && outlet().is_some()
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(outlet) = outlet() {
            ship(outlet, record);
        }
    }

    fn flush(&self) {}
}

/// Whether the logger of this process ships, or prints as [`log_to_stderr`](crate::log_to_stderr()) does.
static IS_OURS: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_ours() -> bool {
    IS_OURS.load(Ordering::Relaxed)
}

/// Installs a logger of ours.
pub(crate) fn set(logger: Box<dyn Log>) -> Result<(), log::SetLoggerError> {
    log::set_boxed_logger(logger)?;
    IS_OURS.store(true, Ordering::Relaxed);
    Ok(())
}

/// In a child, before its task. One that was forked, or whose constructors installed a logger, keeps that.
pub(crate) fn install(level: LevelFilter) {
    if level != LevelFilter::Off && set(Box::new(Shipper)).is_ok() {
        log::set_max_level(level);
    }
}

fn ship(outlet: &Outlet, record: &Record<'_>) {
    outlet.ship(Kind::Log, |frame| {
        frame.u8(record.level() as u8);
        frame.str(record.target());
        frame.optional(record.module_path());
        frame.optional(record.file());
        frame.u32(record.line().unwrap_or(0));
        frame.text(*record.args());
        // A source that fails is written so far.
        let _ = record.key_values().visit(&mut Writing(frame));
    });
}

/// Writes keys and values.
struct Writing<'f>(&'f mut Frame);

impl<'kvs> VisitSource<'kvs> for Writing<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.0.str(key.as_str());
        value.visit(self)
    }
}

impl<'v> VisitValue<'v> for &mut Writing<'_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0.value_text(format_args!("{value}"));
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0.word(tag::U64, value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0.word(tag::I64, value.cast_unsigned());
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0.word(tag::F64, value.to_bits());
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0.value_bool(value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0.value_str(value);
        Ok(())
    }
}

/// Gives the logger of this process the record of another.
pub(crate) fn emit(writer: Writer<'_>, mut reader: Reader<'_>) -> Option<()> {
    let level = Level::iter().nth(usize::from(reader.u8()?).checked_sub(1)?)?;
    let target = reader.str()?;
    let metadata = Metadata::builder().level(level).target(target).build();
    let logger = log::logger();
    if level > log::max_level() || !logger.enabled(&metadata) {
        return Some(());
    }
    let (module, file, line) = (reader.optional()?, reader.optional()?, reader.u32()?);
    let message = reader.str()?;
    let fields = Fields { writer, reader };
    logger.log(
        &Record::builder()
            .metadata(metadata)
            .module_path(module)
            .file(file)
            .line(Some(line).filter(|line| *line != 0))
            .args(format_args!("{message}"))
            .key_values(&fields)
            .build(),
    );
    Some(())
}

/// The key-values of a record, and which process it is of.
struct Fields<'f> {
    writer: Writer<'f>,
    reader: Reader<'f>,
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        visitor.visit_pair(Key::from_str("process"), self.writer.name.to_value())?;
        visitor.visit_pair(Key::from_str("pid"), self.writer.pid.to_value())?;
        let mut reader = self.reader;
        while !reader.is_empty() {
            let Some((key, value)) = reader.str().zip(Value::read(&mut reader)) else { break };
            let key = Key::from_str(key);
            match value {
                Value::Bool(value) => visitor.visit_pair(key, value.into())?,
                Value::I64(value) => visitor.visit_pair(key, value.into())?,
                Value::U64(value) => visitor.visit_pair(key, value.into())?,
                Value::F64(value) => visitor.visit_pair(key, value.into())?,
                Value::Str(text) | Value::Text(text) => visitor.visit_pair(key, text.into())?,
                // Never written by this module.
                Value::I128(_) | Value::U128(_) => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").finish_non_exhaustive()
    }
}
