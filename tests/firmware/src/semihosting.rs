//! Words to the emulator, and the end of the emulation.

use core::arch::asm;

const WRITE0: usize = 0x04;
const EXIT: usize = 0x18;
const APPLICATION_EXIT: usize = 0x2_0026;

fn call(operation: usize, argument: usize) {
    // SAFETY: the emulator serves the call; it reads what `argument` points to, and changes no register but r0.
    unsafe { asm!("bkpt 0xAB", inout("r0") operation => _, in("r1") argument, options(nostack)) }
}

/// Prints the text.
pub fn print(text: &str) {
    for byte in text.bytes() {
        call(WRITE0, [byte, 0].as_ptr() as usize);
    }
}

/// Prints the number in decimal.
pub fn print_number(number: u32) {
    let (mut digits, mut rest, mut at) = ([b'0'; 10], number, 10);
    loop {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    print(core::str::from_utf8(&digits[at..]).unwrap_or("?"));
}

/// Ends the emulation with status 0.
pub fn exit() -> ! {
    call(EXIT, APPLICATION_EXIT);
    loop {
        core::hint::spin_loop();
    }
}
