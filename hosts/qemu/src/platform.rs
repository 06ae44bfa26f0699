//! What QEMU is to an image: messages go out by semihosting, and `main` ends with an exit status.

use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::sync::atomic::{Ordering, compiler_fence};

// For its critical section, and for what carries `defmt`.
use semihosting::process::ExitCode;
use semihosting::sys::arm_compat::{sys_get_cmdline_uninit, sys_readc};
use {cortex_m as _, defmt_semihosting as _};

/// Ends the emulation: status 0 if `ok`, 1 if not.
pub fn exit(ok: bool) -> ! {
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    code.exit_process()
}

/// Where QEMU was started with the argument `paced`, returns when the harness has sent a byte to the console, which it
/// does for each write that has reached the medium.
pub fn wait_for_medium() {
    let mut line = [MaybeUninit::uninit(); 16];
    if sys_get_cmdline_uninit(&mut line).is_ok_and(|line| line.starts_with(b"paced")) {
        sys_readc();
    }
}

/// Without a word: texts and places of panics would be a quarter of the image.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    compiler_fence(Ordering::SeqCst);
    exit(false)
}
