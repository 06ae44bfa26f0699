//! Bars and spinners for what takes long: on standard error, and only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over so many bytes, or a counter where nobody knows how many come.
pub fn bytes(total: Option<u64>) -> ProgressBar {
    bar(
        total,
        match total {
            Some(_) => {
                "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
            }
            None => "{spinner} {binary_bytes}, {binary_bytes_per_sec}",
        },
    )
}

/// A bar over so many entries.
pub fn entries(total: u64) -> ProgressBar {
    bar(Some(total), "{wide_bar} {human_pos} of {human_len} entries, {eta} left")
}

/// A bar over so many pairs.
pub fn pairs(total: u64) -> ProgressBar {
    bar(Some(total), "{wide_bar} {human_pos} of {human_len} pairs, {per_sec}, {eta} left")
}

/// A bar over so many bytes of input, with a message behind it.
pub fn input(total: Option<u64>) -> ProgressBar {
    bar(
        total,
        match total {
            Some(_) => "{wide_bar} {binary_bytes} of {binary_total_bytes}, {msg}, {eta} left",
            None => "{spinner} {binary_bytes}, {msg}",
        },
    )
}

/// A spinner beside a few words, for one long call.
pub fn busy(doing: &'static str) -> ProgressBar {
    let bar = bar(None, "{spinner} {msg}").with_message(doing);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Such a target draws nothing where there is no terminal.
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for bar in [
            bytes(None),
            bytes(Some(1)),
            entries(1),
            pairs(1),
            input(None),
            input(Some(1)),
            busy("formatting"),
        ] {
            bar.finish_and_clear();
        }
        for template in [
            "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            "{wide_bar} {human_pos} of {human_len} entries, {eta} left",
            "{wide_bar} {human_pos} of {human_len} pairs, {per_sec}, {eta} left",
            "{wide_bar} {binary_bytes} of {binary_total_bytes}, {msg}, {eta} left",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
