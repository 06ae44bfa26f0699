//! What QEMU is to an image: messages go out by semihosting, and `main` ends with an exit status.

use core::panic::PanicInfo;
use core::sync::atomic::{Ordering, compiler_fence};

// For its critical section, and for what carries `defmt`.
use {cortex_m as _, defmt_semihosting as _};
use semihosting::process::ExitCode;

/// Ends the emulation: status 0 if `ok`, 1 if not.
pub fn exit(ok: bool) -> ! {
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    code.exit_process()
}

/// Without a word: texts and places of panics would be a quarter of the image.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    compiler_fence(Ordering::SeqCst);
    exit(false)
}
