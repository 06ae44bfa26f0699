//! How many instructions a piece of code takes, and how much stack.
//!
//! Instructions are counted by the SysTick timer of QEMU's `mps2-an385` under `-icount shift=6`: the timer ticks 25
//! million times in a second of emulated time, in which exactly 1 / 64 ns instructions are run. So a tick is 40 ns, an
//! instruction 64 ns, and every run counts the same.

use core::arch::asm;
use core::hint::black_box;

use crate::semihosting::{print, print_number};

const CONTROL: *mut u32 = core::ptr::with_exposed_provenance_mut(0xE000_E010);
const RELOAD: *mut u32 = core::ptr::with_exposed_provenance_mut(0xE000_E014);
const CURRENT: *mut u32 = core::ptr::with_exposed_provenance_mut(0xE000_E018);

const ENABLE: u32 = 1;
const CORE_CLOCK: u32 = 1 << 2;
const WRAPPED: u32 = 1 << 16;
const MAX: u32 = 0x00FF_FFFF;

const TICK_NS: u64 = 40;
const INSTRUCTION_NS: u64 = 64;

const PAINT: u32 = 0xC0DE_57AC;
/// Bytes below the caller that are painted: more than is ever used.
const DEPTH: usize = 12 * 1024;
/// Bytes below the stack pointer that painting itself may use.
const MARGIN: usize = 256;

/// So often short pieces are run: a commit in the middle of appending.
pub const TIMES: u32 = 64;

/// A loop of 10,000 instructions, to see that they are counted.
pub fn calibrate() {
    measure("calibration", 1, &mut || {
        // SAFETY: counts down a register of its own.
        unsafe { asm!("2:", "subs {0}, {0}, #1", "bne 2b", inout(reg) 5000 => _, options(nomem, nostack)) }
    });
}

/// Measures work that is done [`TIMES`] times.
pub fn each<E>(name: &str, work: &mut dyn FnMut(u32) -> Result<(), E>) {
    measure(name, TIMES, &mut || {
        for number in 0..TIMES {
            if black_box(work(number)).is_err() {
                print("failed\n");
            }
        }
    });
}

/// Measures work that is done once.
pub fn once<E>(name: &str, work: &mut dyn FnMut() -> Result<(), E>) {
    measure(name, 1, &mut || {
        if black_box(work()).is_err() {
            print("failed\n");
        }
    });
}

/// Keys in no order, all different.
pub fn key(number: u32) -> [u8; 8] {
    let spread = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
    let [a, b, c, d] = spread;
    [b'k', b'e', b'y', b'/', a, b, c, d]
}

/// Runs `code` and prints a line: `name`, instructions for each of `times`, peak of the stack in bytes.
#[inline(never)]
pub fn measure(name: &str, times: u32, code: &mut dyn FnMut()) {
    let nothing = instructions(&mut || {});
    let top = stack_pointer();
    paint(top);
    let count = instructions(code).saturating_sub(nothing);
    let used = top - lowest(top);
    print(name);
    print(" ");
    print_number(count / times);
    print(" ");
    print_number(used as u32);
    print("\n");
}

#[inline(never)]
fn instructions(code: &mut dyn FnMut()) -> u32 {
    // SAFETY: the timer of every Cortex-M, which nobody else uses here.
    let ticks = unsafe {
        RELOAD.write_volatile(MAX);
        CURRENT.write_volatile(0);
        CONTROL.write_volatile(ENABLE | CORE_CLOCK);
        // A timer that was cleared loads its start with the next tick.
        while CURRENT.read_volatile() == 0 {}
        let _ = CONTROL.read_volatile();
        let before = CURRENT.read_volatile();
        code();
        let after = CURRENT.read_volatile();
        if CONTROL.read_volatile() & WRAPPED != 0 {
            print("the timer is too short for this\n");
        }
        before.wrapping_sub(after) & MAX
    };
    (u64::from(ticks) * TICK_NS / INSTRUCTION_NS) as u32
}

fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: only reads the register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) }
    pointer
}

fn paint(top: usize) {
    for address in (top - DEPTH..top - MARGIN).step_by(4) {
        // SAFETY: below the stack pointer lies nothing but free stack; `link.x` leaves more than this.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) }
    }
}

/// The lowest address that is not as it was painted.
fn lowest(top: usize) -> usize {
    let mut address = top - DEPTH;
    // SAFETY: as in `paint`.
    while address < top
        && unsafe { core::ptr::with_exposed_provenance::<u32>(address).read_volatile() } == PAINT
    {
        address += 4;
    }
    address
}
