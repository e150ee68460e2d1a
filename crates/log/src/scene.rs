//! The ecosystem of `tracing`, in the parent: frames of one child, and of its children, to events and spans.
//!
//! Invariants: what a child logs outside of its own spans is in the span that it was started in, and so is what is in a
//! span of which nothing has come; spans of a child are closed when it has ended, however that was. Held by
//! `tests/tracing.rs`.

use std::collections::HashMap;

use tracing::dispatcher::{self, Dispatch};
use tracing::field::{DisplayValue, display};
use tracing::{Event, Span};

use crate::frame::{Kind, Reader, Writer};
use crate::outlet::Outlet;
use crate::sites::{self, Site};
use crate::spawn::SpanKey;
use crate::value::Value;

/// Where events and spans of one child go.
#[derive(Debug)]
pub(crate) struct Scene {
    dispatch: Dispatch,
    /// The one that the child is started in, kept open as long as the child lives.
    root: Span,
    spans: HashMap<SpanKey, Here>,
}

/// A span of a child, here.
#[derive(Debug)]
struct Here {
    span: Span,
    /// `None` where nobody wanted it: then `span` is the one above it.
    site: Option<&'static Site>,
}

impl Scene {
    /// With the subscriber and the span of this thread at this moment.
    pub(crate) fn here() -> Self {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        Self { dispatch, root: Span::current(), spans: HashMap::new() }
    }

    /// The span that the child is started in, or the one that this process was.
    pub(crate) fn root(&self, above: Option<&'static Outlet>) -> Option<SpanKey> {
        let ours = self.root.id().map(|id| SpanKey { pid: std::process::id(), id: id.into_u64() });
        ours.or_else(|| above.and_then(|outlet| outlet.given().root))
    }

    /// One frame.
    pub(crate) fn emit(&mut self, kind: Kind, writer: Writer<'_>, mut reader: Reader<'_>) -> Option<()> {
        let reader = &mut reader;
        let dispatch = self.dispatch.clone();
        dispatcher::with_default(&dispatch, || match kind {
            Kind::Event => self.event(writer, reader),
            Kind::Span => self.span(writer, reader),
            Kind::Values => self.values(writer, reader),
            Kind::Close => {
                let key = SpanKey { pid: writer.pid, id: reader.u64()? };
                self.spans.remove(&key).map(drop)
            }
            Kind::Gone => {
                self.spans.retain(|key, _| key.pid != writer.pid);
                Some(())
            }
            Kind::Log => None,
        })
    }

    fn event(&self, writer: Writer<'_>, reader: &mut Reader<'_>) -> Option<()> {
        let within = self.within(SpanKey::read(reader)?);
        let site = sites::site(reader.bytes()?, false)?;
        if site.is_enabled() {
            with_values(site, Some(writer), reader, |values| {
                Event::child_of(within.id(), site.of(), values);
            })?;
        }
        Some(())
    }

    fn span(&mut self, writer: Writer<'_>, reader: &mut Reader<'_>) -> Option<()> {
        let above = self.within(SpanKey::read(reader)?).clone();
        let key = SpanKey { pid: writer.pid, id: reader.u64()? };
        let site = sites::site(reader.bytes()?, true)?;
        let here = if site.is_enabled() {
            let span = with_values(site, Some(writer), reader, |values| {
                Span::child_of(above.id(), site.of(), values)
            });
            Here { span: span?, site: Some(site) }
        } else {
            Here { span: above, site: None }
        };
        self.spans.insert(key, here);
        Some(())
    }

    fn values(&self, writer: Writer<'_>, reader: &mut Reader<'_>) -> Option<()> {
        let here = self.spans.get(&SpanKey { pid: writer.pid, id: reader.u64()? })?;
        let site = here.site?;
        with_values(site, None, reader, |values| {
            here.span.record_all(values);
        })
    }

    /// The span here that stands for that one.
    fn within(&self, key: Option<SpanKey>) -> &Span {
        key.and_then(|key| self.spans.get(&key)).map_or(&self.root, |here| &here.span)
    }
}

/// Calls with the values in the frame, and with those that say of which process it is.
fn with_values<R>(
    site: &'static Site,
    writer: Option<Writer<'_>>,
    reader: &mut Reader<'_>,
    call: impl FnOnce(&tracing::field::ValueSet<'_>) -> R,
) -> Option<R> {
    let fields = site.of().fields();
    let n = fields.len();
    let mut values: Vec<Option<Kept<'_>>> = (0..n).map(|_| None).collect();
    while !reader.is_empty() {
        let place = usize::from(reader.u8()?);
        let value = Value::read(reader)?;
        // The child has fewer fields than there are here.
        if let Some(slot) = values[..n - sites::OURS.len()].get_mut(place) {
            *slot = Some(Kept::of(value));
        }
    }
    if let Some(writer) = writer {
        values[n - 2] = Some(Kept::of(Value::Str(writer.name)));
        values[n - 1] = Some(Kept::of(Value::U64(writer.pid.into())));
    }
    let values: Vec<_> = values.iter().map(|value| value.as_ref().map(Kept::as_value)).collect();
    Some(call(&fields.value_set_all(&values)))
}

/// A value as `tracing` has it.
enum Kept<'f> {
    Plain(Value<'f>),
    Text(DisplayValue<&'f str>),
}

impl<'f> Kept<'f> {
    fn of(value: Value<'f>) -> Self {
        match value {
            Value::Text(text) => Self::Text(display(text)),
            other => Self::Plain(other),
        }
    }

    fn as_value(&self) -> &dyn tracing::field::Value {
        match self {
            Self::Text(text) => text,
            Self::Plain(Value::Bool(value)) => value,
            Self::Plain(Value::I64(value)) => value,
            Self::Plain(Value::U64(value)) => value,
            Self::Plain(Value::F64(value)) => value,
            Self::Plain(Value::Str(value) | Value::Text(value)) => value,
            Self::Plain(Value::I128(value)) => value,
            Self::Plain(Value::U128(value)) => value,
        }
    }
}
