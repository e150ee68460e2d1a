//! Events and spans of children in the subscriber of their parent.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, Once, PoisonError};

use procession_process::{Builder, JoinError, Process, StartMethod};
use procession_testkit::guarded;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// What happened, a line for each: events with the spans that they are in, spans that were made and closed.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Notes;

/// The fields of a span, as text.
struct Kept(String);

struct Fields<'t>(&'t mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // The pid differs from run to run.
        match field.name() {
            "pid" => self.0.push_str(" pid"),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Notes {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= tracing::Level::INFO && metadata.target() != "unwanted"
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut text = attributes.metadata().name().to_owned();
        attributes.record(&mut Fields(&mut text));
        context.span(id).unwrap().extensions_mut().insert(Kept(text));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Fields(&mut extensions.get_mut::<Kept>().unwrap().0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = String::new();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            text.push_str(&span.extensions().get::<Kept>().unwrap().0);
            text.push_str(" > ");
        }
        let metadata = event.metadata();
        write!(text, "{} {} {}", metadata.level(), metadata.target(), metadata.file().unwrap_or("-"))
            .unwrap();
        event.record(&mut Fields(&mut text));
        seen().push(text);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let text = context.span(&id).unwrap().extensions().get::<Kept>().unwrap().0.clone();
        seen().push(format!("closed {text}"));
    }
}

fn seen() -> std::sync::MutexGuard<'static, Vec<String>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that are of this process or scope, taken.
fn take(name: &str) -> Vec<String> {
    seen().extract_if(.., |line| line.contains(&format!("\"{name}"))).collect()
}

fn child(name: &str) -> Builder {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let all = tracing_subscriber::registry().with(procession_log::layer()).with(Notes);
        tracing::subscriber::set_global_default(all).unwrap();
    });
    Process::builder().name(name).allow_threads(true)
}

const FILE: &str = file!();

#[test]
fn events_and_spans_of_a_child_are_in_the_span_that_started_it() {
    guarded(|| {
        for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork] {
            let name = format!("spans {method:?}");
            let task = |n: u64| {
                info!(target: "root", "outside");
                tracing::debug!("is filtered where it is written");
                info!(target: "unwanted", "is filtered where it comes");
                let span = info_span!("work", n, later = tracing::field::Empty);
                let _work = span.enter();
                let _unwanted = info_span!(target: "unwanted", "unwanted").entered();
                span.record("later", 2.5);
                info!(target: "deep", a = -1, b = true, c = "text", d = ?Some(1), e = %"shown", "inside {n}");
            };
            let process = {
                let builder = child(&name);
                let _batch = info_span!("batch", id = 7).entered();
                builder.start_method(method).spawn(task, 3).unwrap()
            };
            process.join().unwrap();
            let who = format!("process=\"{name}\" pid");
            let expected = [
                format!("batch id=7 > INFO root {FILE} message=outside {who}"),
                format!(
                    "batch id=7 > work n=3 {who} later=2.5 > INFO deep {FILE} message=inside 3 a=-1 b=true c=\"text\" \
                     d=Some(1) e=shown {who}"
                ),
                format!("closed work n=3 {who} later=2.5"),
            ];
            assert_eq!(take(&name), expected, "{method:?}");
            assert!(seen().contains(&"closed batch id=7".to_owned()));
        }
    });
}

#[test]
fn a_grandchild_is_in_the_span_of_its_parent() {
    guarded(|| {
        let task = |()| {
            let middle = info_span!("middle").entered();
            let below = Process::builder().name("nest below").spawn(|()| info!("deep"), ()).unwrap();
            drop(middle);
            below.join().unwrap();
        };
        let process = {
            let builder = child("nest");
            let _top = info_span!("top").entered();
            builder.spawn(task, ()).unwrap()
        };
        process.join().unwrap();
        let expected = [
            format!(
                "top > middle process=\"nest\" pid > INFO tracing {FILE} message=deep process=\"nest below\" pid"
            ),
            "closed middle process=\"nest\" pid".to_owned(),
        ];
        assert_eq!(take("nest"), expected);
    });
}

#[test]
fn spans_of_a_child_that_dies_are_closed_and_its_panic_is_an_event() {
    guarded(|| {
        let task = |()| -> () {
            let _open = info_span!("open").entered();
            panic!("of no use");
        };
        assert!(matches!(child("panics").spawn(task, ()).unwrap().join(), Err(JoinError::Panicked(_))));
        let panic =
            format!("ERROR panic {FILE} message=thread 'panics' panicked: of no use process=\"panics\" pid");
        assert_eq!(take("panics"), [panic, "closed open process=\"panics\" pid".to_owned()]);

        let task = |()| -> () {
            let _open = info_span!("open").entered();
            info!("last");
            std::process::abort();
        };
        assert!(child("aborts").spawn(task, ()).unwrap().join().is_err());
        let lines = take("aborts");
        assert!(lines.len() == 2 && lines[1] == "closed open process=\"aborts\" pid", "{lines:?}");
    });
}

#[test]
fn a_subscriber_of_one_thread_gets_what_its_children_log() {
    guarded(|| {
        let builder = child("of a thread");
        let own = tracing_subscriber::registry();
        // Nobody is there to see it: what comes goes nowhere, not to the global one.
        let process =
            tracing::subscriber::with_default(own, || builder.spawn(|()| info!("unseen"), ()).unwrap());
        process.join().unwrap();
        assert_eq!(take("of a thread"), [""; 0]);
    });
}
