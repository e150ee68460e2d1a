//! Tasks that return an error.

use std::error::Error;
use std::fmt;

use procession_process::{JoinError, TaskError};
use procession_testkit::{Role, role, roles};

use super::{PATIENCE, Start, expected};

pub(crate) fn an_error_is_a_value(start: Start) {
    fn parse(text: String) -> Result<u8, String> {
        text.parse().map_err(|_| format!("{text} is no small number"))
    }
    let outcome = start().spawn(parse, "300".into()).unwrap().join().unwrap();
    assert_eq!(outcome, Err("300 is no small number".to_owned()));
    assert_eq!(start().spawn(parse, "30".into()).unwrap().join().unwrap(), Ok(30));
}

/// An error with two causes below it.
#[derive(Debug)]
struct Layer(u8, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn fail_in_layers(fail: bool) -> Result<u8, TaskError> {
    if fail {
        Err(Layer(1, Some(Box::new(Layer(2, Some(Box::new(Layer(3, None))))))))?;
    }
    Ok(1)
}

pub(crate) fn an_error_taken_by_question_mark(start: Start) {
    let error = start().spawn(fail_in_layers, true).unwrap().join().unwrap().unwrap_err();
    assert_eq!(error.message(), "layer 1");
    assert_eq!(error.sources(), ["layer 2", "layer 3"]);
    assert!(error.type_name().ends_with("suite::failures::Layer"), "{}", error.type_name());
    let text = start().spawn(|()| -> Result<(), TaskError> { Err(TaskError::new("only a text")) }, ());
    let error = text.unwrap().join().unwrap().unwrap_err();
    assert_eq!((error.message(), error.type_name(), error.sources()), ("only a text", "", &[][..]));
}

pub(crate) fn join_flat_gives_value_or_failure(start: Start) {
    assert_eq!(start().spawn(fail_in_layers, false).unwrap().join_flat().unwrap(), 1);
    let error = start().spawn(fail_in_layers, true).unwrap().join_flat().unwrap_err();
    let failure = expected!(&error, JoinError::Failed(failure) => failure);
    assert_eq!(failure.error().message(), "layer 1");
    let panicked = start().spawn(|()| -> Result<(), TaskError> { panic!("no error") }, ()).unwrap();
    expected!(panicked.join_flat(), Err(JoinError::Panicked(_)));
}

pub(crate) fn a_failure_has_its_sources(start: Start) {
    let error = start().spawn(fail_in_layers, true).unwrap().join_flat().unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        chain.push(source.to_string());
        next = source.source();
    }
    assert_eq!(chain, ["layer 1", "layer 2", "layer 3"]);
}

/// The variables count in the child, so this runs in roles with and without them.
pub(crate) fn backtraces_where_asked_for(start: Start) {
    if role().is_some() {
        let error = start().spawn(fail_in_layers, true).unwrap().join().unwrap().unwrap_err();
        let named = error.backtrace().map(|text| text.contains("fail_in_layers"));
        assert_eq!(format!("{error:?}").contains("in the child"), named.is_some());
        return roles::say(&format!("{named:?}"));
    }
    let told = |role: Role| {
        role.env_remove("RUST_LIB_BACKTRACE").spawn().wait_with_output(PATIENCE).expect_success().said
    };
    assert_eq!(told(Role::new("asks").env("RUST_BACKTRACE", "1")), ["Some(true)"]);
    assert_eq!(told(Role::new("does not ask").env_remove("RUST_BACKTRACE")), ["None"]);
}
