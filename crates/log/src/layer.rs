//! The ecosystem of `tracing`, in children: events and spans to frames.
//!
//! | frame | what it holds |
//! |---|---|
//! | `Event` | the span it is in, what it is ([`definition`]), its values |
//! | `Span` | the span above it, its number, what it is, its values |
//! | `Values` | its number, values that it got later |
//! | `Close` | its number |
//!
//! Each event and span says all that it is, so that no frame needs another one, which may have been lost.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::frame::{Frame, Kind};
use crate::level;
use crate::outlet::{Outlet, outlet};
use crate::spawn::SpanKey;
use crate::value::tag;

/// Makes a layer through which children of this process ship their events and spans here: they come to the subscriber that
/// is the default of the thread that starts the child, with the fields `process` and `pid`, and within the span that is
/// entered there. Also does what [`collect`](crate::collect()) does, so records of `log` come too.
///
/// In this process the layer changes nothing else, wherever in the stack it is. In a
/// [forked](procession_process::StartMethod::Fork) child, which has a copy of the stack, it ships events and keeps them from the
/// other layers. Other children have a stack of this layer alone from before their task starts: code that runs there and
/// wants its own must set it with `try_init`, which is then refused.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// // And `.with(tracing_subscriber::fmt::layer())`, or whatever else shall get them.
/// let all = tracing_subscriber::registry().with(procession_log::layer());
/// tracing::subscriber::set_global_default(all)?;
///
/// let _batch = tracing::info_span!("batch", id = 7).entered();
/// procession_process::spawn(|n: u64| tracing::info!(n, "crunching"), 3)?.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn layer() -> Shipping {
    crate::collect();
    Shipping { level: None }
}

/// See [`layer`].
#[derive(Clone, Debug)]
pub struct Shipping {
    /// In a child that was executed: what its parent wants.
    level: Option<LevelFilter>,
}

/// In a child, before its task. One that was forked, or whose constructors installed a subscriber, keeps that.
pub(crate) fn install(level: LevelFilter) {
    if level != LevelFilter::OFF {
        let alone = Registry::default().with(Shipping { level: Some(level) });
        let _ = tracing::subscriber::set_global_default(alone);
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Shipping {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.level.is_none_or(|level| *metadata.level() <= level)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.level
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(outlet) = outlet() else { return };
        let above = context.span(id).and_then(|span| span.parent()).map(|span| span.id());
        outlet.ship(Kind::Span, |frame| {
            SpanKey::write(within(outlet, above), frame);
            frame.u64(id.into_u64());
            frame.part(|frame| definition(frame, attributes.metadata()));
            attributes.record(&mut Values(frame));
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let Some(outlet) = outlet() else { return };
        outlet.ship(Kind::Values, |frame| {
            frame.u64(id.into_u64());
            values.record(&mut Values(frame));
        });
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let Some(outlet) = outlet() else { return true };
        let within = within(outlet, context.event_span(event).map(|span| span.id()));
        outlet.ship(Kind::Event, |frame| {
            SpanKey::write(within, frame);
            frame.part(|frame| definition(frame, event.metadata()));
            event.record(&mut Values(frame));
        });
        // It is told of elsewhere; a forked child has layers that would tell of it here, too.
        false
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let Some(outlet) = outlet() else { return };
        outlet.ship(Kind::Close, |frame| frame.u64(id.into_u64()));
    }
}

/// A span of this process, or else the one that this process was started in.
fn within(outlet: &Outlet, span: Option<Id>) -> Option<SpanKey> {
    let ours = span.map(|id| SpanKey { pid: outlet.pid(), id: id.into_u64() });
    ours.or(outlet.given().root)
}

/// What an event or span is: level, name, target, module, file, line, names of its fields.
fn definition(frame: &mut Frame, metadata: &Metadata<'_>) {
    frame.u8(level::of_level(*metadata.level()));
    for text in [Some(metadata.name()), Some(metadata.target()), metadata.module_path(), metadata.file()] {
        frame.optional(text);
    }
    frame.u32(metadata.line().unwrap_or(0));
    for field in metadata.fields() {
        frame.str(field.name());
    }
}

/// Writes values, each behind the number of its field.
struct Values<'f>(&'f mut Frame);

impl Values<'_> {
    fn of(&mut self, field: &Field) -> &mut Frame {
        self.0.u8(u8::try_from(field.index()).unwrap_or(u8::MAX));
        self.0
    }
}

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.of(field).value_text(format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.of(field).value_text(format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.of(field).value_str(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.of(field).value_bool(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.of(field).word(tag::U64, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.of(field).word(tag::I64, value.cast_unsigned());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.of(field).word(tag::F64, value.to_bits());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.of(field).words(tag::U128, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.of(field).words(tag::I128, value.cast_unsigned());
    }
}
