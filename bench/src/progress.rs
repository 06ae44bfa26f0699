//! How far a measurement is.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nothing unless standard error is a terminal.
pub fn progress(phases: u64) -> ProgressBar {
    let template = "{wide_bar} {pos}/{len} {msg:32} {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(phases), ProgressDrawTarget::stderr()).with_style(style)
}
