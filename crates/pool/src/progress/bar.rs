//! Progress on standard error: a bar on a terminal, else plain lines.

use std::io::{self, Write};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;
use super::plain::Plain;

/// With a known number of tasks.
const BAR: &str = "{prefix} [{bar:30}] {pos}/{len} {msg} {elapsed}, left {eta}";
/// Without.
const COUNT: &str = "{prefix} {spinner} {pos} {msg} {elapsed}";

/// A hook that shows what it is told.
pub(super) fn shown(pool: &Arc<str>) -> impl FnMut(Progress) + Send + 'static {
    let pool = Arc::clone(pool);
    let mut bar = Bar::new(&pool, ProgressDrawTarget::stderr());
    let mut plain = Plain::default();
    move |progress| {
        if bar.bar.is_hidden() && !bar.is_over {
            if let Some(line) = plain.line(&pool, &progress) {
                // In one write, and nothing to be done about an error.
                let _ = io::stderr().write_all(line.as_bytes());
            }
        } else {
            bar.show(&progress);
        }
    }
}

/// A bar, which goes away with its map unless that is over.
struct Bar {
    bar: ProgressBar,
    is_over: bool,
}

impl Bar {
    fn new(pool: &str, target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(pool.to_owned());
        Self { bar: bar.with_style(style(COUNT)), is_over: false }
    }

    fn show(&mut self, progress: &Progress) {
        if self.bar.length().is_none()
            && let Some(total) = progress.total
        {
            self.bar.set_style(style(BAR));
            self.bar.set_length(total as u64);
        }
        if progress.failed > 0 {
            self.bar.set_message(format!("({} failed)", progress.failed));
        }
        self.bar.set_position(progress.done as u64);
        if progress.is_over() {
            self.is_over = true;
            // It stays as it is.
            self.bar.abandon();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if !self.is_over {
            self.bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
