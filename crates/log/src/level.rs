//! Levels as numbers, from 1 (errors) to 5 (all), in both ecosystems; 0 is off.

#[cfg(feature = "tracing")]
pub(crate) use of_tracing::*;

#[cfg(feature = "log")]
pub(crate) fn log_filter(level: u8) -> log::LevelFilter {
    use log::LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    [Off, Error, Warn, Info, Debug].get(usize::from(level)).copied().unwrap_or(Trace)
}

#[cfg(feature = "tracing")]
mod of_tracing {
    use tracing::Level;
    use tracing::level_filters::LevelFilter;

    const ALL: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

    pub(crate) fn level(level: u8) -> Option<Level> {
        ALL.get(usize::from(level).checked_sub(1)?).copied()
    }

    pub(crate) fn of_level(level: Level) -> u8 {
        ALL.iter().zip(1..).find(|(one, _)| **one == level).map_or(5, |(_, number)| number)
    }

    pub(crate) fn filter(number: u8) -> LevelFilter {
        level(number).map_or(LevelFilter::OFF, LevelFilter::from_level)
    }

    pub(crate) fn of_filter(filter: LevelFilter) -> u8 {
        filter.into_level().map_or(0, of_level)
    }
}
