//! What QEMU is to an image: messages go out by semihosting, and `main` ends with an exit status.

use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::sync::atomic::{Ordering, compiler_fence};

// For its critical section, and for what carries `defmt`.
use semihosting::process::ExitCode;
use semihosting::sys::arm_compat::{sys_get_cmdline_uninit, sys_readc};
use {cortex_m as _, defmt_semihosting as _};

/// The interrupts of this image: one entry, because there must be one, and nobody enables it. A device crate (PAC) brings
/// its own table, and then this one goes.
// SAFETY: the linker script of `cortex-m-rt` looks for this name in this section.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [usize; 1] = [0];

/// Bytes of memory that were ever in use: static, and stack.
pub fn memory_used() -> (usize, usize) {
    /// What `cortex-m-rt` fills the stack with.
    const PAINT: u32 = 0xCCCC_CCCC;
    unsafe extern "C" {
        static __sdata: u32;
        static __ebss: u32;
        static _stack_end: u32;
        static _stack_start: u32;
    }
    let (mut at, top) = (&raw const _stack_end, &raw const _stack_start);
    // SAFETY: the linker's symbols are the ends of the stack, which is readable memory.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    let fixed = (&raw const __ebss).addr().wrapping_sub((&raw const __sdata).addr());
    (fixed, top.addr().wrapping_sub(at.addr()))
}

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
