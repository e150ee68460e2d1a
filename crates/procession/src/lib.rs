//! Everything is re-exported from here.
