//! Log points, for firmware that is built with the feature `defmt`; elsewhere they are nothing. (Not on a host with all
//! features: there is nobody to link `defmt` to.)

macro_rules! trace {
    ($($message:tt)*) => {
        #[cfg(all(feature = "defmt", target_os = "none"))]
        defmt::debug!($($message)*);
    };
}
