//! Errors of tasks: any error crosses the border as what it said.

use std::error::Error;
use std::{any, fmt};

use procession_codec::Message;
use serde::{Deserialize, Serialize};

use crate::error::JoinError;
use crate::process::Process;

/// The error of a task, as data: `?` makes one from any [`std::error::Error`].
///
/// Keeps the text, the error's type name, the texts of its sources and, where `RUST_BACKTRACE` asks for it, the
/// backtrace of the place that made it. Not itself a [`std::error::Error`] (a type cannot be that *and* take every
/// error by `?`); what `join_flat` returns is one: [`TaskFailure`].
///
/// ```
/// use procession_process::{JoinError, TaskError, spawn};
///
/// fn lines(path: String) -> Result<usize, TaskError> {
///     Ok(std::fs::read_to_string(path)?.lines().count())
/// }
///
/// let outcome = spawn(lines, "/no/such/file".to_string()).unwrap().join_flat();
/// let Err(JoinError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
/// assert_eq!(failure.error().type_name(), "std::io::error::Error");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    message: String,
    type_name: String,
    sources: Vec<String>,
    backtrace: Option<String>,
}

impl TaskError {
    /// An error that is only a text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            type_name: String::new(),
            sources: Vec::new(),
            backtrace: backtrace(),
        }
    }

    /// What the error said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The Rust type of the error (`std::io::error::Error`); empty for one made from a text.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What its sources said, nearest first.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Where the error became a `TaskError`, in the child; only if `RUST_BACKTRACE` (or `RUST_LIB_BACKTRACE`) asked
    /// for backtraces there.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl<E: Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut sources = Vec::new();
        let mut next = error.source();
        while let Some(source) = next {
            sources.push(source.to_string());
            next = source.source();
        }
        Self {
            message: error.to_string(),
            type_name: any::type_name::<E>().to_owned(),
            sources,
            backtrace: backtrace(),
        }
    }
}

fn backtrace() -> Option<String> {
    let backtrace = std::backtrace::Backtrace::capture();
    let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
    captured.then(|| backtrace.to_string())
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for source in &self.sources {
            write!(f, "\n  caused by: {source}")?;
        }
        if !self.type_name.is_empty() {
            write!(f, "\n  type: {}", self.type_name)?;
        }
        if let Some(backtrace) = &self.backtrace {
            write!(f, "\n  in the child:\n{backtrace}")?;
        }
        Ok(())
    }
}

impl From<TaskError> for Box<dyn Error + Send + Sync> {
    fn from(error: TaskError) -> Self {
        Box::new(TaskFailure::from(error))
    }
}

impl From<TaskError> for Box<dyn Error> {
    fn from(error: TaskError) -> Self {
        Box::new(TaskFailure::from(error))
    }
}

/// A [`TaskError`] that arrived: a [`std::error::Error`] whose source chain is that of the error in the child.
#[derive(Clone, Debug)]
pub struct TaskFailure {
    error: TaskError,
    source: Option<Box<Source>>,
}

impl TaskFailure {
    /// What the task returned.
    pub fn error(&self) -> &TaskError {
        &self.error
    }

    /// What the task returned.
    pub fn into_error(self) -> TaskError {
        self.error
    }
}

impl From<TaskError> for TaskFailure {
    fn from(error: TaskError) -> Self {
        let link = |next, text: &String| Some(Box::new(Source { text: text.clone(), next }));
        let source = error.sources.iter().rev().fold(None, link);
        Self { error, source }
    }
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for TaskFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl<T, E> Process<Result<T, E>>
where
    Result<T, E>: Message,
    E: Into<TaskError>,
{
    /// [`join`](Process::join) for a task that returns a `Result`: its error becomes [`JoinError::Failed`].
    pub fn join_flat(self) -> Result<T, JoinError> {
        self.join()?.map_err(|error| JoinError::Failed(error.into().into()))
    }
}

/// One link of a chain that was rebuilt from texts.
#[derive(Clone, Debug)]
struct Source {
    text: String,
    next: Option<Box<Self>>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Source {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_rebuilt_in_order() {
        let text = |text: &str, next| Some(Box::new(Source { text: text.into(), next }));
        let inner = Source { text: "outer".into(), next: text("middle", text("inner", None)) };
        let error = TaskError::from(inner);
        assert_eq!(error.sources(), ["middle", "inner"]);
        assert!(error.type_name().ends_with("failure::Source"));
        let failure = TaskFailure::from(error);
        let middle = failure.source().unwrap();
        assert_eq!(
            (middle.to_string(), middle.source().unwrap().to_string()),
            ("middle".into(), "inner".into())
        );
        assert!(middle.source().unwrap().source().is_none());
    }

    #[test]
    fn question_mark_and_boxes() {
        fn parse(text: &str) -> Result<u8, TaskError> {
            Ok(text.parse::<u8>()?)
        }
        fn run() -> Result<u8, Box<dyn Error>> {
            Ok(parse("300")?)
        }
        assert_eq!(run().unwrap_err().to_string(), "number too large to fit in target type");
    }
}
