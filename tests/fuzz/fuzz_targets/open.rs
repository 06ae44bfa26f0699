//! Opens and uses arbitrary images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| esker_tests::fuzz::fuzz_image(data));
