//! Messages: `defmt` on a core; on a host, where nothing would carry them, their arguments are only looked at.

macro_rules! info {
    ($format:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(target_os = "none")]
        defmt::info!($format $(, $argument)*);
        #[cfg(not(target_os = "none"))]
        let _ = ($(&$argument,)*);
    }};
}
